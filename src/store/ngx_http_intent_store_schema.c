
/*
 * The schema, as migrations that are applied in order, each once, each in a
 * transaction of its own.
 */


#include "ngx_http_intent_store_private.h"
#include "ngx_http_intent_store_webhook.h"


typedef enum {
    NGX_HTTP_INTENT_STORE_SCHEMA_ASK = 0,
    NGX_HTTP_INTENT_STORE_SCHEMA_ASKED,
    NGX_HTTP_INTENT_STORE_SCHEMA_LOCKED,
    NGX_HTTP_INTENT_STORE_SCHEMA_APPLIED,
    NGX_HTTP_INTENT_STORE_SCHEMA_COMMITTED
} ngx_http_intent_store_schema_step_e;


static ngx_int_t ngx_http_intent_store_schema_asked(
    ngx_http_intent_pg_setup_t *s, PGresult *res, ngx_log_t *log);
static ngx_int_t ngx_http_intent_store_schema_apply(
    ngx_http_intent_pg_setup_t *s, ngx_log_t *log);
static ngx_uint_t ngx_http_intent_store_schema_version(PGresult *res);


/*
 * Migration n makes version n + 1 of version n.  They are never changed once
 * released.  Each says its own version last, and commits within its own text:
 * if it takes longer than a session waits, the server ends it all the same,
 * and the next session finds it done.
 */

#define NGX_HTTP_INTENT_STORE_MIGRATED(version)                               \
    "INSERT INTO intent_schema (version) VALUES (" #version "); COMMIT"

/*
 * Of one for tables that are in use: whoever waits for a table lock has all
 * others wait behind, so it does that only for a moment, and comes again
 * later.  The work itself may take long.  A notice would have the server look
 * for a client that may have gone.
 */

#define NGX_HTTP_INTENT_STORE_IN_USE                                          \
    "SET LOCAL statement_timeout TO 0;"                                       \
    "SET LOCAL lock_timeout TO '3s';"                                         \
    "SET LOCAL client_min_messages TO warning;"

static const char  *ngx_http_intent_store_migrations[] = {

    /*
     * A row of intents is updated two to four times, each time with its
     * status, which is indexed: so room is left in the pages, and dead rows
     * go soon, for the index of what is pending would fill with them.
     */

    "CREATE TABLE intents ("
    "    id               uuid PRIMARY KEY,"
    "    type             text NOT NULL,"
    "    status           text NOT NULL CHECK (status IN ("
    "                         'pending', 'executing', 'success', 'failed',"
    "                         'expired', 'cancelled')),"
    "    chain            text NOT NULL,"
    "    user_id          text,"
    "    params           json NOT NULL,"
    "    attempts         int NOT NULL DEFAULT 0,"
    "    tx_hash          bytea CHECK (octet_length(tx_hash) = 32),"
    "    block_number     bigint,"
    "    confirmations    int NOT NULL DEFAULT 0,"
    "    gas_used         bigint,"
    "    gas_cost         numeric,"
    "    error            text,"
    "    version          int NOT NULL DEFAULT 1,"
    "    created_at       timestamptz NOT NULL,"
    "    updated_at       timestamptz NOT NULL,"
    "    expires_at       timestamptz,"
    "    idempotency_key  text,"
    /* when a lane may take it: now, or after a failed attempt later */
    "    next_attempt_at  timestamptz NOT NULL,"
    /* the signer whose lane has taken it */
    "    claimed_by       bytea CHECK (octet_length(claimed_by) = 20)"
    ") WITH ("
    "    fillfactor = 80,"
    "    autovacuum_vacuum_scale_factor = 0.02,"
    "    autovacuum_vacuum_threshold = 1000,"
    "    autovacuum_analyze_scale_factor = 0.05,"
    "    autovacuum_vacuum_cost_delay = 1"
    ");"

    "CREATE INDEX intents_status_created_at ON intents (status, created_at);"

    "CREATE INDEX intents_pending ON intents (chain, next_attempt_at)"
    "    WHERE status = 'pending';"

    "CREATE INDEX intents_user_id_status ON intents (user_id, status)"
    "    WHERE user_id IS NOT NULL;"

    "CREATE INDEX intents_expires_at ON intents (expires_at)"
    "    WHERE expires_at IS NOT NULL AND status = 'pending';"

    "CREATE UNIQUE INDEX intents_idempotency_key"
    "    ON intents (user_id, idempotency_key)"
    "    WHERE idempotency_key IS NOT NULL;"

    /* what a lane has: read, or given back, when it changes hands */

    "CREATE INDEX intents_claimed ON intents (chain, claimed_by)"
    "    WHERE claimed_by IS NOT NULL"
    "    AND status IN ('pending', 'executing');"

    /*
     * Every transaction that was signed, replaced ones too.  The unique
     * index is what keeps two live ones from having the same nonce.
     */

    "CREATE TABLE intent_transactions ("
    "    hash                      bytea PRIMARY KEY"
    "                              CHECK (octet_length(hash) = 32),"
    "    chain_id                  bigint NOT NULL,"
    "    signer                    bytea NOT NULL"
    "                              CHECK (octet_length(signer) = 20),"
    "    nonce                     bigint NOT NULL CHECK (nonce >= 0),"
    /* null: fills a gap in the nonces */
    "    intent_id                 uuid REFERENCES intents(id)"
    "                              ON DELETE CASCADE,"
    "    raw                       bytea NOT NULL,"
    "    gas_limit                 bigint,"
    "    max_fee_per_gas           numeric,"
    "    max_priority_fee_per_gas  numeric,"
    "    state                     text NOT NULL DEFAULT 'live'"
    "                              CHECK (state IN ("
    "                                  'live', 'replaced', 'mined',"
    "                                  'dropped')),"
    "    block_number              bigint,"
    "    block_hash                bytea,"
    "    created_at                timestamptz NOT NULL DEFAULT now()"
    ") WITH ("
    "    fillfactor = 85,"
    "    autovacuum_vacuum_scale_factor = 0.02,"
    "    autovacuum_vacuum_threshold = 1000,"
    "    autovacuum_vacuum_cost_delay = 1"
    ");"

    "CREATE UNIQUE INDEX intent_transactions_live"
    "    ON intent_transactions (chain_id, signer, nonce)"
    "    WHERE state = 'live';"

    "CREATE INDEX intent_transactions_unfinished"
    "    ON intent_transactions (chain_id, signer, nonce)"
    "    WHERE state IN ('live', 'replaced');"

    "CREATE INDEX intent_transactions_intent_id"
    "    ON intent_transactions (intent_id);"

    /* a few rows, each updated all the time: within its page */

    "CREATE TABLE intent_lanes ("
    "    chain_id    bigint NOT NULL,"
    "    signer      bytea NOT NULL CHECK (octet_length(signer) = 20),"
    "    next_nonce  bigint NOT NULL DEFAULT 0,"
    "    epoch       bigint NOT NULL DEFAULT 0,"
    "    updated_at  timestamptz NOT NULL DEFAULT now(),"
    "    PRIMARY KEY (chain_id, signer)"
    ") WITH (fillfactor = 10, autovacuum_vacuum_cost_delay = 0);"

    NGX_HTTP_INTENT_STORE_MIGRATED(1),

    /*
     * What an intent is known by a second time.  Nothing here reads a table:
     * the columns are null in the rows that are there, and a constraint that
     * is not valid yet is kept by all that is written from now on.  The two
     * indexes have not been used by anybody.
     */

    NGX_HTTP_INTENT_STORE_IN_USE

    "ALTER TABLE intents"
    "    ADD COLUMN IF NOT EXISTS idempotency_scope text,"
    "    ADD COLUMN IF NOT EXISTS fingerprint bytea,"
    "    ADD COLUMN IF NOT EXISTS digest bytea,"
    "    ADD COLUMN IF NOT EXISTS signature bytea,"
    "    ADD COLUMN IF NOT EXISTS nonce numeric,"
    /* a duplicate was answered with it: it is not to be revoked any more */
    "    ADD COLUMN IF NOT EXISTS replayed boolean,"
    "    ADD CONSTRAINT intents_fingerprint_check"
    "        CHECK (octet_length(fingerprint) = 32) NOT VALID,"
    "    ADD CONSTRAINT intents_digest_check"
    "        CHECK (octet_length(digest) = 32) NOT VALID;"

    "DROP INDEX intents_idempotency_key, intents_user_id_status;"

    NGX_HTTP_INTENT_STORE_MIGRATED(2),

    /*
     * Writers wait while these are made, readers do not; docs/operations.md
     * says how to make them beforehand, with nobody waiting.
     */

    NGX_HTTP_INTENT_STORE_IN_USE

    "CREATE UNIQUE INDEX IF NOT EXISTS intents_idempotency"
    "    ON intents (idempotency_scope, idempotency_key)"
    "    WHERE idempotency_key IS NOT NULL;"

    "CREATE UNIQUE INDEX IF NOT EXISTS intents_digest ON intents (digest)"
    "    WHERE digest IS NOT NULL;"

    /* a user's own, newest first */

    "CREATE INDEX IF NOT EXISTS intents_user_id_id ON intents (user_id, id)"
    "    WHERE user_id IS NOT NULL;"

    "CREATE INDEX IF NOT EXISTS intents_user_id_status_id"
    "    ON intents (user_id, status, id) WHERE user_id IS NOT NULL;"

    /* what retention deletes, oldest first */

    "CREATE INDEX IF NOT EXISTS intents_finished"
    "    ON intents (updated_at, id)"
    "    WHERE status IN ('success', 'failed', 'expired', 'cancelled');"

    "CREATE INDEX IF NOT EXISTS intent_transactions_filled"
    "    ON intent_transactions (created_at)"
    "    WHERE intent_id IS NULL AND state IN ('mined', 'dropped');"

    NGX_HTTP_INTENT_STORE_MIGRATED(3),

    /*
     * Webhooks.  What is to be told of an intent is written with the change
     * itself, whoever makes it: hence the triggers, whose conditions cost an
     * intent without a webhook next to nothing.  A row has all that a message
     * is made of, so that it needs no intent any more.
     *
     * Who deletes an intent that has not ended (a revocation) does not leave
     * those who were told of it waiting.
     */

    NGX_HTTP_INTENT_STORE_IN_USE

    "ALTER TABLE intents ADD COLUMN IF NOT EXISTS webhook text;"

    "CREATE TABLE intent_webhooks ("
    "    intent_id        uuid NOT NULL,"
    "    version          int NOT NULL,"
    "    webhook          text NOT NULL,"
    "    type             text NOT NULL,"
    "    status           text NOT NULL,"
    "    chain            text NOT NULL,"
    "    user_id          text,"
    "    params           json NOT NULL,"
    "    attempts         int NOT NULL,"
    "    tx_hash          bytea,"
    "    block_number     bigint,"
    "    confirmations    int NOT NULL,"
    "    gas_used         bigint,"
    "    gas_cost         numeric,"
    "    error            text,"
    "    created_at       timestamptz NOT NULL,"
    "    updated_at       timestamptz NOT NULL,"
    "    expires_at       timestamptz,"
    /* of the delivery: how often it has failed, when it is tried next */
    "    failures         int NOT NULL DEFAULT 0,"
    "    next_attempt_at  timestamptz NOT NULL DEFAULT clock_timestamp(),"
    "    queued_at        timestamptz NOT NULL DEFAULT clock_timestamp(),"
    "    PRIMARY KEY (intent_id, version)"
    ") WITH ("
    "    autovacuum_vacuum_scale_factor = 0.02,"
    "    autovacuum_vacuum_threshold = 1000,"
    "    autovacuum_analyze_scale_factor = 0.05,"
    "    autovacuum_vacuum_cost_delay = 1"
    ");"

    "CREATE INDEX intent_webhooks_next"
    "    ON intent_webhooks (webhook, next_attempt_at);"

    /* what nobody tells */

    "CREATE INDEX intent_webhooks_queued ON intent_webhooks (queued_at);"

    "CREATE FUNCTION intent_webhook_queue() RETURNS trigger"
    " LANGUAGE plpgsql SET search_path FROM CURRENT AS $body$"
    " BEGIN"
    "    IF TG_OP = 'DELETE' THEN"
    "        NEW := OLD;"
    "        NEW.status := 'cancelled';"
    "        NEW.version := OLD.version + 1;"
    "        NEW.error := 'the intent was revoked';"
    "        NEW.updated_at := now();"
    "    END IF;"
    "    INSERT INTO intent_webhooks (intent_id, version, webhook, type,"
    "        status, chain, user_id, params, attempts, tx_hash, block_number,"
    "        confirmations, gas_used, gas_cost, error, created_at,"
    "        updated_at, expires_at)"
    "    VALUES (NEW.id, NEW.version, NEW.webhook, NEW.type, NEW.status,"
    "        NEW.chain, NEW.user_id, NEW.params, NEW.attempts, NEW.tx_hash,"
    "        NEW.block_number, NEW.confirmations, NEW.gas_used,"
    "        NEW.gas_cost, NEW.error, NEW.created_at, NEW.updated_at,"
    "        NEW.expires_at)"
    /* who forgets the version, with psql, shall be told of all the same */
    "    ON CONFLICT (intent_id, version) DO UPDATE"
    "    SET status = EXCLUDED.status, error = EXCLUDED.error,"
    "        updated_at = EXCLUDED.updated_at;"
    "    RETURN NULL;"
    " END $body$;"

    /*
     * What is due, of each intent the lowest version, until their params are
     * large.  How much of the table that is the server cannot know, and a plan
     * may be older than what is in the table: hence functions, and what they
     * set.
     */

    "CREATE FUNCTION intent_webhook_due(hook text, held uuid[], most int)"
    " RETURNS SETOF intent_webhooks"
    " LANGUAGE plpgsql SET search_path FROM CURRENT SET jit TO off"
    " SET enable_seqscan TO off SET enable_bitmapscan TO off"
    " SET enable_sort TO off AS $body$"
    " DECLARE"
    "    due intent_webhooks;"
    "    at timestamptz := clock_timestamp();"
    "    bytes int8 := 0;"
    " BEGIN"
    "    FOR due IN SELECT w.* FROM intent_webhooks w"
    "        WHERE w.webhook = hook AND w.next_attempt_at <= at"
    "        AND w.intent_id <> ALL (held)"
    "        AND w.version = (SELECT min(e.version) FROM intent_webhooks e"
    "            WHERE e.intent_id = w.intent_id)"
    "        ORDER BY w.next_attempt_at LIMIT most"
    "    LOOP"
    "        RETURN NEXT due;"
    "        bytes := bytes + octet_length(due.params::text);"
    "        EXIT WHEN bytes >= "
             ngx_value(NGX_HTTP_INTENT_STORE_WEBHOOK_BYTES) ";"
    "    END LOOP;"
    " END $body$;"

    /*
     * What came of it: deleted where delay is below 0, else due in so many ms,
     * with later versions, or each look at what is due would find those.
     */

    "CREATE FUNCTION intent_webhook_settle(ids uuid[], versions int8[],"
    "    delays int8[], counts int8[]) RETURNS int8"
    " LANGUAGE plpgsql SET search_path FROM CURRENT SET jit TO off"
    " SET enable_seqscan TO off SET enable_bitmapscan TO off AS $body$"
    " DECLARE n int8 := coalesce(array_length(ids, 1), 0);"
    " BEGIN"
    "    FOR i IN 1 .. n LOOP"
    "        IF delays[i] < 0 THEN"
    "            DELETE FROM intent_webhooks"
    "            WHERE intent_id = ids[i] AND version = versions[i];"
    "        ELSE"
    "            UPDATE intent_webhooks SET"
    "                failures = failures + CASE WHEN version = versions[i]"
    "                    THEN counts[i] ELSE 0 END,"
    "                next_attempt_at = clock_timestamp()"
    "                    + delays[i] * interval '1 ms'"
    "            WHERE intent_id = ids[i] AND version >= versions[i];"
    "        END IF;"
    "    END LOOP;"
    "    RETURN n;"
    " END $body$;"

    /*
     * What is too old, of each intent the lowest version.  What was tried is
     * due later, and not meant: nor is what comes after it.
     */

    "CREATE FUNCTION intent_webhook_forget(hook text, till timestamptz,"
    "    most int8) RETURNS int8"
    " LANGUAGE plpgsql SET search_path FROM CURRENT SET jit TO off"
    " SET enable_seqscan TO off SET enable_bitmapscan TO off"
    " SET enable_sort TO off AS $body$"
    " DECLARE"
    "    gone record;"
    "    n int8 := 0;"
    " BEGIN"
    "    FOR gone IN SELECT w.intent_id, w.version FROM intent_webhooks w"
    "        WHERE w.webhook = hook AND w.next_attempt_at < till"
    "        AND w.queued_at < till"
    "        AND w.version = (SELECT min(e.version) FROM intent_webhooks e"
    "            WHERE e.intent_id = w.intent_id)"
    "        ORDER BY w.next_attempt_at LIMIT most"
    "    LOOP"
    "        DELETE FROM intent_webhooks"
    "        WHERE intent_id = gone.intent_id AND version = gone.version;"
    "        n := n + 1;"
    "    END LOOP;"
    "    RETURN n;"
    " END $body$;"

    "CREATE TRIGGER intents_webhook_insert AFTER INSERT ON intents"
    "    FOR EACH ROW WHEN (NEW.webhook IS NOT NULL)"
    "    EXECUTE FUNCTION intent_webhook_queue();"

    "CREATE TRIGGER intents_webhook_update AFTER UPDATE ON intents"
    "    FOR EACH ROW WHEN (NEW.webhook IS NOT NULL"
    "        AND (NEW.version <> OLD.version OR NEW.status <> OLD.status))"
    "    EXECUTE FUNCTION intent_webhook_queue();"

    "CREATE TRIGGER intents_webhook_delete AFTER DELETE ON intents"
    "    FOR EACH ROW WHEN (OLD.webhook IS NOT NULL"
    "        AND OLD.status IN ('pending', 'executing'))"
    "    EXECUTE FUNCTION intent_webhook_queue();"

    NGX_HTTP_INTENT_STORE_MIGRATED(4)
};


#define NGX_HTTP_INTENT_STORE_VERSION                                         \
    (sizeof(ngx_http_intent_store_migrations) / sizeof(char *))


/*
 * Whether there is something to do is seen without a lock.  Where there is,
 * it is looked at again under the lock, for another worker or another host
 * may have been quicker.
 */

ngx_int_t
ngx_http_intent_store_schema(ngx_http_intent_pg_setup_t *s, PGresult *res,
    ngx_log_t *log)
{
    ngx_uint_t  missing;

    if (s->step == NGX_HTTP_INTENT_STORE_SCHEMA_ASK) {
        s->sql = "SELECT max(version) FROM intent_schema";
        s->step = NGX_HTTP_INTENT_STORE_SCHEMA_ASKED;
        return NGX_AGAIN;
    }

    if (PQresultStatus(res) == PGRES_FATAL_ERROR) {

        /* undefined_table */

        missing = s->step == NGX_HTTP_INTENT_STORE_SCHEMA_ASKED
                  && ngx_strcmp(ngx_http_intent_pg_sqlstate(res), "42P01")
                     == 0;

        if (!missing) {
            ngx_log_error(NGX_LOG_ERR, log, 0,
                          "intent schema: the server refused: %s: %s",
                          ngx_http_intent_pg_sqlstate(res),
                          ngx_http_intent_pg_message(res));
            return NGX_ERROR;
        }
    }

    switch (s->step) {

    case NGX_HTTP_INTENT_STORE_SCHEMA_ASKED:
        return ngx_http_intent_store_schema_asked(s, res, log);

    case NGX_HTTP_INTENT_STORE_SCHEMA_LOCKED:
        s->version = ngx_http_intent_store_schema_version(res);
        return ngx_http_intent_store_schema_apply(s, log);

    case NGX_HTTP_INTENT_STORE_SCHEMA_APPLIED:

        /* the next one, if any, in a transaction of its own */

        s->sql = "SELECT max(version) FROM intent_schema";
        s->step = NGX_HTTP_INTENT_STORE_SCHEMA_ASKED;
        return NGX_AGAIN;

    default: /* NGX_HTTP_INTENT_STORE_SCHEMA_COMMITTED */
        return NGX_OK;
    }
}


static ngx_int_t
ngx_http_intent_store_schema_asked(ngx_http_intent_pg_setup_t *s,
    PGresult *res, ngx_log_t *log)
{
    s->version = ngx_http_intent_store_schema_version(res);

    if (s->version > NGX_HTTP_INTENT_STORE_VERSION) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "intent schema: the database has version %ui, this "
                      "module knows %uz, going on in the hope that they "
                      "agree", s->version, NGX_HTTP_INTENT_STORE_VERSION);
        return NGX_OK;
    }

    if (s->version == NGX_HTTP_INTENT_STORE_VERSION) {
        return NGX_OK;
    }

    s->sql = "BEGIN ISOLATION LEVEL READ COMMITTED;"
             "SET LOCAL statement_timeout TO '50s';"
             "SELECT pg_advisory_xact_lock("
                 NGX_HTTP_INTENT_STORE_SCHEMA_LOCK ");"
             "CREATE TABLE IF NOT EXISTS intent_schema ("
             "    version     int PRIMARY KEY,"
             "    applied_at  timestamptz NOT NULL DEFAULT now());"
             "SELECT max(version) FROM intent_schema";
    s->step = NGX_HTTP_INTENT_STORE_SCHEMA_LOCKED;
    s->slow = 1;

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_intent_store_schema_apply(ngx_http_intent_pg_setup_t *s,
    ngx_log_t *log)
{
    if (s->version >= NGX_HTTP_INTENT_STORE_VERSION) {
        s->sql = "COMMIT";
        s->step = NGX_HTTP_INTENT_STORE_SCHEMA_COMMITTED;
        return NGX_AGAIN;
    }

    ngx_log_error(NGX_LOG_NOTICE, log, 0,
                  "intent schema: version %ui becomes %ui", s->version,
                  s->version + 1);

    s->sql = ngx_http_intent_store_migrations[s->version];
    s->step = NGX_HTTP_INTENT_STORE_SCHEMA_APPLIED;
    s->slow = 1;

    return NGX_AGAIN;
}


/* of a result in text form; an error, or an empty table, is version 0 */

static ngx_uint_t
ngx_http_intent_store_schema_version(PGresult *res)
{
    ngx_int_t  n;

    if (PQntuples(res) != 1 || PQgetisnull(res, 0, 0)) {
        return 0;
    }

    n = ngx_atoi((u_char *) PQgetvalue(res, 0, 0), PQgetlength(res, 0, 0));

    return n == NGX_ERROR ? 0 : (ngx_uint_t) n;
}
