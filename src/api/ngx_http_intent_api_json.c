
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
    u_char      *p, *last, *line;
    ngx_uint_t   depth, quoted, lines;

    depth = 0;
    quoted = 0;
    lines = 1;
    line = body->data;
    last = body->data + body->len;

    for (p = body->data; p < last; p++) {

        switch (*p) {

        case '\0':
            ngx_sprintf((u_char *) error->text, "a NUL byte%Z");
            goto found;

        case '\n':
            lines++;
            line = p + 1;
            break;

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

    error->line = lines;
    error->column = p - line + 1;
    error->position = p - body->data + 1;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_intent_api_unreadable(ngx_array_t *faults, json_error_t *error)
{
    char  *text;

    /* "\u0000 is not allowed without JSON_ALLOW_NUL" helps no user */

    if (json_error_code(error) == json_error_null_character) {
        ngx_sprintf((u_char *) error->text, "\\u0000 is not allowed%Z");
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
