
/*
 * Text into JSON, or where it is not JSON.
 */


#include "ngx_http_intent_api.h"


/*
 * An intent in an array has four levels; the parser recurses, and memory is
 * not free.
 */
#define NGX_HTTP_INTENT_API_MAX_DEPTH    16


static ngx_int_t ngx_http_intent_api_scan(ngx_str_t *body,
    json_error_t *error);
static void ngx_http_intent_api_locate(ngx_str_t *body, u_char *p,
    json_error_t *error);
static ngx_int_t ngx_http_intent_api_unreadable(ngx_array_t *faults,
    json_error_t *error);


json_t *
ngx_http_intent_api_load(ngx_str_t *body, ngx_array_t *faults)
{
    json_t        *root;
    json_error_t   error;

    ngx_memzero(&error, sizeof(json_error_t));

    if (body->len == 0) {
        (void) ngx_http_intent_type_fault(faults, "",
                                          "the body is empty, "
                                          "it must be a JSON object");
        return NULL;
    }

    if (ngx_http_intent_api_scan(body, &error) != NGX_OK) {
        (void) ngx_http_intent_api_unreadable(faults, &error);
        return NULL;
    }

    root = json_loadb((char *) body->data, body->len,
                      JSON_REJECT_DUPLICATES, &error);

    if (root == NULL) {
        (void) ngx_http_intent_api_unreadable(faults, &error);
        return NULL;
    }

    return root;
}


/* what the parser would take, or not name */

static ngx_int_t
ngx_http_intent_api_scan(ngx_str_t *body, json_error_t *error)
{
    u_char      *p, *last;
    ngx_uint_t   depth, quoted;

    depth = 0;
    quoted = 0;
    p = body->data;
    last = body->data + body->len;

    if (body->len >= 3 && ngx_memcmp(p, "\xef\xbb\xbf", 3) == 0) {
        ngx_sprintf((u_char *) error->text, "a byte order mark%Z");
        goto found;
    }

    for ( /* void */ ; p < last; p++) {

        switch (*p) {

        case '\0':
            ngx_sprintf((u_char *) error->text, "a NUL byte%Z");
            goto found;

        case '\\':
            p += quoted;
            break;

        case '"':
            quoted = !quoted;
            break;

        case '[':
        case '{':

            if (!quoted && ++depth > NGX_HTTP_INTENT_API_MAX_DEPTH) {
                ngx_sprintf((u_char *) error->text, "more than %d levels%Z",
                            NGX_HTTP_INTENT_API_MAX_DEPTH);
                goto found;
            }

            break;

        case ']':
        case '}':
            depth -= (!quoted && depth);
            break;

        default:
            break;
        }
    }

    return NGX_OK;

found:

    ngx_http_intent_api_locate(body, p, error);

    return NGX_DECLINED;
}


/* as the parser counts: columns are characters, and each number is from 1 */

static void
ngx_http_intent_api_locate(ngx_str_t *body, u_char *p, json_error_t *error)
{
    u_char  *q;

    error->line = 1;
    error->column = 1;
    error->position = p - body->data + 1;

    for (q = body->data; q < p; q++) {

        if (*q == '\n') {
            error->line++;
            error->column = 1;

        } else if ((*q & 0xc0) != 0x80) {
            error->column++;
        }
    }
}


static ngx_int_t
ngx_http_intent_api_unreadable(ngx_array_t *faults, json_error_t *error)
{
    char  *text;

    /* "\u0000 is not allowed without JSON_ALLOW_NUL" helps no user */

    if (json_error_code(error) == json_error_null_character) {
        ngx_sprintf((u_char *) error->text, "\\u0000 is not allowed%Z");
    }

    /* what it could not decode it has not counted yet */

    if (json_error_code(error) == json_error_invalid_utf8) {
        error->column++;
        error->position++;
    }

    /* jansson cites the body, which may be anything */

    for (text = error->text; *text; text++) {
        if (*text < 0x20 || *text > 0x7e) {
            *text = '?';
        }
    }

    return ngx_http_intent_type_fault(faults, "",
                                      "the body cannot be read as JSON: %s, "
                                      "at line %d, column %d (byte %d)",
                                      error->text, error->line,
                                      error->column, error->position);
}
