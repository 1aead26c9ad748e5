
/*
 * Lanes: one for each (chain, signer).  Private to src/chain.
 *
 * A lane is a pipeline.  Jobs stand in the queue of the step they wait for,
 * and each step works on one batch at a time, confirm on several:
 *
 *   claim ▸ claimed ▸ preflight ▸ ready ▸ save ▸ unsent ▸ send ▸ sent ▸
 *   confirm ▸ mined ▸ verify ▸ outcome ▸ record
 *
 * where save has two parts for a remote signer: it is asked, and what it has
 * signed is committed; and,
 *
 * where the chain has used a nonce and shows no receipt of ours,
 *
 *   confirm ▸ suspect ▸ search ▸ sent or outcome
 *
 * A job leaves its queue for the step's own while the step waits for
 * Postgres or for the node, so that each job is always in exactly one queue.
 */


#ifndef _NGX_HTTP_INTENT_LANE_H_INCLUDED_
#define _NGX_HTTP_INTENT_LANE_H_INCLUDED_


#include "ngx_http_intent.h"
#include "ngx_http_intent_chain.h"
#include "ngx_http_intent_endpoint.h"
#include "ngx_http_intent_rpc.h"
#include "ngx_http_intent_rpc_class.h"
#include "ngx_http_intent_signer.h"
#include "ngx_http_intent_store_lane.h"
#include "ngx_http_intent_type.h"


#define NGX_HTTP_INTENT_LANE_CLAIM     256   /* intents in one claim */
#define NGX_HTTP_INTENT_LANE_SIGN       64   /* 40 us each: a short turn */
#define NGX_HTTP_INTENT_LANE_RPC       100   /* items in one JSON-RPC batch */
#define NGX_HTTP_INTENT_LANE_CONFIRMS    4   /* of these for receipts */
#define NGX_HTTP_INTENT_LANE_RECORD    256   /* changes in one commit */

/* all of a lane, those for receipts too */
#define NGX_HTTP_INTENT_LANE_STEPS     (9 + NGX_HTTP_INTENT_LANE_CONFIRMS)


/* why something is tried again: a class of the node's errors, or this */
#define NGX_HTTP_INTENT_RETRY_SIGNER   NGX_HTTP_INTENT_RPC_CLASSES
#define NGX_HTTP_INTENT_RETRIES        (NGX_HTTP_INTENT_RPC_CLASSES + 1)


/* ---- configuration ---- */

typedef struct ngx_http_intent_lane_s  ngx_http_intent_lane_t;


typedef struct {
    ngx_str_t                         name;
    uint64_t                          chain_id;
    ngx_array_t                       endpoints; /* ..._rpc_endpoint_t */
    ngx_array_t                       signers;   /* ..._signer_t * */

    ngx_uint_t                        confirmations;
    ngx_msec_t                        poll_interval;
    ngx_uint_t                        max_in_flight;
    uint64_t                          max_fee;      /* wei for a unit of gas */
    uint64_t                          priority_fee; /* 0: as the chain pays */
    ngx_msec_t                        replace_after; /* 0: never */

    evm_u256_t                        min_balance;  /* wei; 0: none */

    ngx_uint_t                        attempts;
    ngx_msec_t                        backoff;
    ngx_msec_t                        max_backoff;

    ngx_http_intent_domain_t          domain;    /* EIP-712 */
    ngx_uint_t                        own_domain;
    ngx_uint_t                        signed_under_way;
    ngx_queue_t                       signed_waiting;
    time_t                            signed_told;

    ngx_http_intent_lane_t           *lanes;     /* one for each signer */

    u_char                           *file;
    ngx_uint_t                        line;
} ngx_http_intent_chain_conf_t;


typedef struct {
    ngx_array_t                       chains;    /* ..._chain_conf_t * */
    ngx_uint_t                        need_domain;
} ngx_http_intent_chain_main_conf_t;


/* of intent_chain, and of its block */
extern ngx_command_t  ngx_http_intent_chain_commands[];


/* ---- lanes ---- */

/* an earlier transaction of a nonce: any of them may still be mined */
typedef struct ngx_http_intent_old_tx_s  ngx_http_intent_old_tx_t;

struct ngx_http_intent_old_tx_s {
    u_char                            hash[32];
    evm_u256_t                        max_fee;
    ngx_uint_t                        cancel;    /* of that transaction */
    ngx_http_intent_old_tx_t         *next;
};


/*
 * An intent on its way, or, with an empty id, the filling of a gap.  Once it
 * has a nonce, that nonce is its own until the chain shows it used.
 */
typedef struct {
    ngx_queue_t                       queue;
    ngx_pool_t                       *pool;
    ngx_http_intent_t                 intent;
    ngx_http_intent_call_t            call;
    evm_u256_t                        cost;      /* at most, when signed */
    ngx_http_intent_store_tx_t        tx;        /* nonce -1: none yet; raw
                                                    empty: not signed yet */
    evm_u256_t                        max_fee;   /* of tx, for a unit of gas */
    evm_u256_t                        tip;
    evm_u256_t                        least_tip; /* a node's words */
    ngx_http_intent_old_tx_t         *old;

    /* what is to take the place of tx, until it is about to be saved */
    evm_tx_t                          asked;
    ngx_str_t                         signed_raw; /* empty: not signed yet */
    u_char                            signed_hash[32];
    ngx_str_t                         declined_words; /* of the signer */

    /* what the receipt says; block_number -1: not mined */
    int64_t                           block_number;
    u_char                            block_hash[32];
    u_char                            mined_hash[32];
    int64_t                           gas_used;
    ngx_str_t                         gas_cost;  /* wei, decimal */

    /* what is to be recorded */
    ngx_uint_t                        to;
    int64_t                           delay;     /* as in store_write_t */
    unsigned                          settled:1; /* the nonce is used up */
    unsigned                          failing:1; /* on its way to failed */

    ngx_msec_t                        not_before; /* of the next preflight */
    ngx_msec_t                        claimed_at;
    ngx_msec_t                        sent_at;   /* 0: never by this lane */
    int64_t                           sent_head; /* the head at that time */
    ngx_msec_t                        taken_at;  /* by a node at first; 0: not
                                                    since this lane has it */
    int64_t                           taken_head;
    ngx_uint_t                        missing;   /* heads without a receipt */
    int64_t                           missing_at; /* the last of them */
    ngx_uint_t                        unseen;    /* searches for who has used
                                                    its nonce, in vain */
    ngx_uint_t                        refused;   /* by the node, in a row */
    ngx_int_t                         block_item; /* of the batch to verify */
    ngx_int_t                         call_item;
    unsigned                          reverted:1;
    unsigned                          cancel:1;  /* tx only uses the nonce up:
                                                    the node refuses the real
                                                    one; intent.error says
                                                    why */
    unsigned                          again:1;   /* then it gets another */
    unsigned                          given_up:1; /* no longer this lane's */
    unsigned                          bump:1;    /* tx takes the place of one
                                                    that pays less */
    unsigned                          pooled:1;  /* and a node has that one */
    unsigned                          underpriced:1; /* a node says so */
    unsigned                          stripped:1; /* Postgres refused it */
    unsigned                          lost:1;    /* another's transaction has
                                                    the nonce */
    unsigned                          fresh:1;   /* its nonce is in no saved
                                                    transaction */
    unsigned                          unsaved:1; /* nor is tx */
    unsigned                          declined:1; /* by the signer */
    unsigned                          wrong:1;   /* what it has signed */
    unsigned                          recorded:1; /* block_number is in the
                                                     intent */
} ngx_http_intent_job_t;


typedef enum {
    NGX_HTTP_INTENT_LANE_AWAY = 0,     /* somebody else's, or nobody's */
    NGX_HTTP_INTENT_LANE_OPENING,
    NGX_HTTP_INTENT_LANE_RUNNING,
    NGX_HTTP_INTENT_LANE_CLOSING       /* waits for what is under way */
} ngx_http_intent_lane_state_e;


/* a step: what it works on now */
typedef struct {
    ngx_http_intent_lane_t           *lane;
    ngx_queue_t                       jobs;
    ngx_http_intent_jsonrpc_t        *rpc;       /* under way, or NULL */
    ngx_uint_t                        busy;
    ngx_uint_t                        singly;    /* so many jobs go alone */

    /* while a commit is under way */
    ngx_pool_t                       *pool;
    ngx_http_intent_transition_t      transition;
    ngx_http_intent_store_write_t     write;
} ngx_http_intent_step_t;


struct ngx_http_intent_lane_s {
    ngx_http_intent_chain_conf_t     *conf;
    ngx_http_intent_signer_t         *signer;
    ngx_log_t                        *log;

    ngx_uint_t                        state;
    ngx_uint_t                        session;   /* the executor's is up */
    ngx_uint_t                        locked;
    ngx_uint_t                        tries;     /* for the lock */
    ngx_uint_t                        ops;       /* Postgres under way */
    ngx_uint_t                        held;      /* keeps the worker alive */
    ngx_http_intent_store_lane_t      store;

    ngx_uint_t                        njobs;
    ngx_queue_t                       claimed;
    ngx_queue_t                       ready;     /* by nonce, then those
                                                    without one */
    ngx_queue_t                       unsent;
    ngx_queue_t                       sent;      /* by nonce */
    ngx_queue_t                       mined;     /* deep enough */
    ngx_queue_t                       suspect;   /* somebody else's nonce? */
    ngx_queue_t                       outcome;

    ngx_http_intent_step_t            open;
    ngx_http_intent_step_t            claim;
    ngx_http_intent_step_t            preflight;
    ngx_http_intent_step_t            save;
    ngx_http_intent_step_t            send;
    ngx_http_intent_step_t            poll;
    ngx_http_intent_step_t            confirm[NGX_HTTP_INTENT_LANE_CONFIRMS];
    ngx_http_intent_step_t            verify;
    ngx_http_intent_step_t            search;
    ngx_http_intent_step_t            record;

    ngx_http_intent_step_t           *steps[NGX_HTTP_INTENT_LANE_STEPS];

    ngx_uint_t                        claim_due;
    ngx_uint_t                        poll_due;
    ngx_uint_t                        confirm_due;
    ngx_uint_t                        send_held;  /* until the next poll */

    /* the chain as the node last told it */
    ngx_uint_t                        rpc_ok;
    ngx_uint_t                        endpoint;
    ngx_msec_t                        chosen_at;     /* the endpoint */
    ngx_uint_t                        poll_failures; /* in a row */
    ngx_uint_t                        rpc_failures;  /* of all other calls */
    ngx_uint_t                        batch;     /* items that go through */
    int64_t                           head;      /* -1: not known */
    u_char                            head_hash[32];
    int64_t                           nonce;     /* mined, at the head */
    int64_t                           pending_nonce;
    evm_u256_t                        base_fee;
    evm_u256_t                        tip;
    evm_u256_t                        gas_price; /* where legacy */
    ngx_uint_t                        legacy;    /* blocks have no base fee */
    ngx_uint_t                        priced;    /* the fees are known */
    int64_t                           moved_nonce; /* mined, as of */
    ngx_msec_t                        moved_at;
    evm_u256_t                        funds;     /* of the signer */
    evm_u256_t                        spent;     /* at most, by what is in
                                                    flight */
    ngx_uint_t                        broke;     /* not even gas */
    ngx_uint_t                        refusals;  /* of the node, in a row */
    int64_t                           top;       /* highest head seen */
    int64_t                           floor;     /* nonces below are settled */
    ngx_uint_t                        behind;    /* polls below both */
    int64_t                           forgotten_nonce; /* mined, when */
    ngx_uint_t                        forgotten; /* transactions were sent
                                                    again, so often */
    ngx_uint_t                        gap;       /* polls that showed one */
    ngx_msec_t                        gap_at;
    ngx_msec_t                        head_at;
    u_char                            verify_hash[32]; /* of the head when
                                                    blocks were asked for */
    int64_t                           search_low;
    int64_t                           search_high;

    /* of a remote signer */
    ngx_uint_t                        sign_failures; /* in a row */
    ngx_msec_t                        sign_at;   /* not before, if any */
    ngx_uint_t                        sign_singly; /* it takes no batches, */
    ngx_msec_t                        sign_singly_at; /* as of */
    ngx_msec_t                        sign_looked_at; /* for who is late */

    /* of several: who takes the next intent */
    ngx_uint_t                        more;      /* the last claim was full */
    ngx_msec_t                        short_at;  /* it could not pay; or 0 */
    ngx_msec_t                        turn_at;   /* others first until then */
    ngx_event_t                       turn;

    ngx_event_t                       timer;     /* poll, or try for the lock */
    ngx_event_t                       work;      /* posted */

    ngx_http_intent_stat_t           *in_flight;
    ngx_http_intent_stat_t           *balance;
    ngx_http_intent_stat_t           *low;       /* less than min_balance */
    ngx_uint_t                        is_low;
    ngx_http_intent_shared_t         *seen;      /* when somebody had it */
    ngx_http_intent_shared_t         *share;     /* what the others see */
    ngx_http_intent_stat_t          **retries;   /* by reason */
};


/* says what nobody carries on, once for all lanes, when the first is opened */
void ngx_http_intent_lane_strays(ngx_http_intent_lane_t *lane);

ngx_int_t ngx_http_intent_lane_init(ngx_http_intent_lane_t *lane,
    ngx_log_t *log);
/* looks at every step: what can begin, begins */
void ngx_http_intent_lane_work(ngx_http_intent_lane_t *lane);
/* the same, from a posted event */
void ngx_http_intent_lane_post(ngx_http_intent_lane_t *lane);
/* gives the lane up; jobs are dropped when nothing refers to them any more */
void ngx_http_intent_lane_lose(ngx_http_intent_lane_t *lane);
/* for health: somebody has it, this worker or another; and its balance */
ngx_int_t ngx_http_intent_chain_health_init(ngx_conf_t *cf,
    ngx_http_intent_lane_t *lane, ngx_str_t *labels);
void ngx_http_intent_lane_seen(ngx_http_intent_lane_t *lane);
ngx_uint_t ngx_http_intent_lane_is_seen(ngx_http_intent_lane_t *lane);
void ngx_http_intent_lane_check_balance(ngx_http_intent_lane_t *lane);
/* asks the node; j NULL, or no memory: the lane is given up */
void ngx_http_intent_step_ask(ngx_http_intent_step_t *step,
    ngx_http_intent_jsonrpc_t *j, ngx_http_intent_jsonrpc_pt handler);
/* a step's call to the node is over; 0: the lane does not run any more */
ngx_uint_t ngx_http_intent_lane_answered(ngx_http_intent_step_t *step,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);

ngx_http_intent_rpc_endpoint_t *ngx_http_intent_lane_endpoint(
    ngx_http_intent_lane_t *lane);

ngx_http_intent_job_t *ngx_http_intent_job_create(
    ngx_http_intent_lane_t *lane);
void ngx_http_intent_job_destroy(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
/* the lane's funds are promised to jobs from signature to receipt */
void ngx_http_intent_job_spend(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, evm_u256_t *cost);
/* into a queue ordered by nonce */
void ngx_http_intent_job_insert(ngx_queue_t *queue,
    ngx_http_intent_job_t *job);
/* to be signed: with a nonce before all that have none */
void ngx_http_intent_job_ready(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
/* a pending intent that has expired, or whose claim is about to */
ngx_uint_t ngx_http_intent_job_is_late(ngx_http_intent_job_t *job);
/*
 * Gives a pending intent back that has expired, or whose claim is about to;
 * 0: it has not.
 */
ngx_uint_t ngx_http_intent_job_give_back(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
/* gives it back, late or not */
void ngx_http_intent_job_release(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
/* a self-transfer for a nonce that nothing else will use */
ngx_int_t ngx_http_intent_job_fill(ngx_http_intent_lane_t *lane,
    int64_t nonce);
/* one more of the old ones, the newest; max_fee and cancel are the caller's */
ngx_http_intent_old_tx_t *ngx_http_intent_job_old(ngx_http_intent_job_t *job,
    u_char hash[32]);
/* the transaction that was live is now one of them */
ngx_int_t ngx_http_intent_job_replace(ngx_http_intent_job_t *job);
/* what the live transaction may cost, as it is signed; 0: more than there is */
void ngx_http_intent_job_cost(ngx_http_intent_job_t *job, evm_u256_t *cost);
/* was it an empty transfer in place of the intent's that was mined? */
ngx_uint_t ngx_http_intent_job_mined_empty(ngx_http_intent_job_t *job);

/* moves at most n jobs to the tail of another queue; how many */
ngx_uint_t ngx_http_intent_jobs_move(ngx_queue_t *to, ngx_queue_t *from,
    ngx_uint_t n);

#define ngx_http_intent_job(q)                                                \
    ngx_queue_data(q, ngx_http_intent_job_t, queue)

#define ngx_http_intent_job_is_filler(job)  ((job)->intent.id.len == 0)

/* a nonce that is left over, and has been in no transaction yet */
#define ngx_http_intent_job_is_spare(job)                                     \
    (ngx_http_intent_job_is_filler(job) && (job)->tx.raw.len == 0)

/* fees: wei for a unit of gas */

/* what a new transaction is to pay, never more than max_fee */
void ngx_http_intent_lane_market(ngx_http_intent_lane_t *lane,
    evm_u256_t *max_fee, evm_u256_t *tip);
/*
 * What the next transaction of the job is to pay: at least what the market
 * wants, and where there is one of that nonce, an eighth more than that.
 * NGX_DECLINED: that would be more than max_fee, which is given.
 */
ngx_int_t ngx_http_intent_job_fees(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, evm_u256_t *max_fee, evm_u256_t *tip);
/*
 * Has the job, which is in no queue, signed again with higher fees.
 * NGX_DECLINED: they would be too high, or there is no money; it is where it
 * was.
 */
ngx_int_t ngx_http_intent_job_bump(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
/* after a poll: what is not mined for long, or was refused, pays more */
void ngx_http_intent_lane_replace(ngx_http_intent_lane_t *lane);
/* keeps in mind what fee a node asks for, where its words say so */
void ngx_http_intent_job_demand(ngx_http_intent_job_t *job,
    ngx_str_t *message);

/* several lanes of one chain; with one only, none of this does anything */

ngx_int_t ngx_http_intent_share_init(ngx_conf_t *cf,
    ngx_http_intent_lane_t *lane);
/* the lane runs, and is given up */
void ngx_http_intent_share_begin(ngx_http_intent_lane_t *lane);
void ngx_http_intent_share_end(ngx_http_intent_lane_t *lane);
/* how many of n it may claim now; 0: others are to, or it is not its turn */
ngx_uint_t ngx_http_intent_share_claim(ngx_http_intent_lane_t *lane,
    ngx_uint_t n);
/* it has got n; more: there may be some left */
void ngx_http_intent_share_claimed(ngx_http_intent_lane_t *lane, ngx_uint_t n,
    ngx_uint_t more);

/* steps */
void ngx_http_intent_lane_share(ngx_http_intent_lane_t *lane);
void ngx_http_intent_lane_claim(ngx_http_intent_lane_t *lane);
void ngx_http_intent_lane_preflight(ngx_http_intent_lane_t *lane);
void ngx_http_intent_lane_save(ngx_http_intent_lane_t *lane);
void ngx_http_intent_lane_send(ngx_http_intent_lane_t *lane);
void ngx_http_intent_lane_poll(ngx_http_intent_lane_t *lane);
void ngx_http_intent_lane_confirm(ngx_http_intent_lane_t *lane);
void ngx_http_intent_lane_verify(ngx_http_intent_lane_t *lane);
void ngx_http_intent_lane_search(ngx_http_intent_lane_t *lane);
void ngx_http_intent_lane_record(ngx_http_intent_lane_t *lane);

/*
 * Has the remote signer sign what stands in lane->save.jobs, and then what it
 * has signed written; all else goes back to where it was.
 */
void ngx_http_intent_lane_sign(ngx_http_intent_lane_t *lane);
/* 1: the remote signer is not to be asked now */
ngx_uint_t ngx_http_intent_lane_sign_waits(ngx_http_intent_lane_t *lane);
/* and then: gives back what waits for it and is late */
void ngx_http_intent_lane_sign_late(ngx_http_intent_lane_t *lane);
/* commits lane->save.jobs, all of which are signed */
void ngx_http_intent_lane_save_write(ngx_http_intent_lane_t *lane);

/* begins a commit over step->jobs; NGX_DECLINED: the jobs stay in the step */
ngx_int_t ngx_http_intent_step_write(ngx_http_intent_step_t *step,
    ngx_uint_t njobs,
    void (*handler)(ngx_http_intent_transition_t *t, ngx_int_t rc));
void ngx_http_intent_step_written(ngx_http_intent_step_t *step);

/* queues a final failure; message is copied */
void ngx_http_intent_job_fail(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_str_t *message);
/* counts an attempt, and queues another one later, or a failure */
void ngx_http_intent_job_retry(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_uint_t class, ngx_str_t *message);

/*
 * Adds a question about the call of a job to a batch; block -1: the latest
 * state, and the gas is what is asked for.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_lane_ask_call(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j, const char *method,
    ngx_http_intent_job_t *job, int64_t block);

/* reading answers: NGX_ERROR where it is not what it should be */
ngx_int_t ngx_http_intent_json_u256(json_t *v, evm_u256_t *n);
ngx_int_t ngx_http_intent_json_int(json_t *v, int64_t *n);
ngx_int_t ngx_http_intent_json_hash(json_t *v, u_char hash[32]);


#endif /* _NGX_HTTP_INTENT_LANE_H_INCLUDED_ */
