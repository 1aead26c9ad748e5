
/*
 * How many clients of this worker come from an address.
 */


#include "ngx_http_intent_push_private.h"


static ngx_http_intent_push_address_t *ngx_http_intent_push_address_find(
    u_char *data, size_t len, uint32_t hash);
static void ngx_http_intent_push_address_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);


void
ngx_http_intent_push_address_init(ngx_http_intent_push_hub_t *hub)
{
    ngx_rbtree_init(&hub->addresses, &hub->address_sentinel,
                    ngx_http_intent_push_address_insert);
}


ngx_int_t
ngx_http_intent_push_address_add(ngx_http_intent_push_client_t *client,
    ngx_http_request_t *r, ngx_uint_t max)
{
    size_t                           len;
    u_char                          *data;
    uint32_t                         hash;
    struct sockaddr                 *sa;
    ngx_http_intent_push_hub_t      *hub;
    ngx_http_intent_push_address_t  *address;

    hub = ngx_http_intent_push_hub;
    sa = r->connection->sockaddr;

    switch (sa->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:

        /* who has an address there has the whole /64 */
        data = ((struct sockaddr_in6 *) sa)->sin6_addr.s6_addr;
        len = 8;
        break;
#endif

    case AF_INET:
        data = (u_char *) &((struct sockaddr_in *) sa)->sin_addr;
        len = sizeof(in_addr_t);
        break;

    default:    /* a socket of this host, behind which all come as one */
        return NGX_OK;
    }

    if (max == 0) {
        return NGX_OK;
    }

    hash = ngx_crc32_short(data, len);
    address = ngx_http_intent_push_address_find(data, len, hash);

    if (address == NULL) {
        address = ngx_calloc(sizeof(ngx_http_intent_push_address_t) + len,
                             hub->log);
        if (address == NULL) {
            return NGX_ERROR;
        }

        address->node.key = hash;
        address->len = (u_short) len;
        ngx_memcpy(address->data, data, len);

        ngx_rbtree_insert(&hub->addresses, &address->node);
    }

    if (address->count >= max) {
        return NGX_DECLINED;
    }

    address->count++;
    client->address = address;

    return NGX_OK;
}


void
ngx_http_intent_push_address_remove(ngx_http_intent_push_client_t *client)
{
    ngx_http_intent_push_address_t  *address;

    address = client->address;
    client->address = NULL;

    if (address && --address->count == 0) {
        ngx_rbtree_delete(&ngx_http_intent_push_hub->addresses,
                          &address->node);
        ngx_free(address);
    }
}


static ngx_http_intent_push_address_t *
ngx_http_intent_push_address_find(u_char *data, size_t len, uint32_t hash)
{
    ngx_int_t                        rc;
    ngx_rbtree_node_t               *node, *sentinel;
    ngx_http_intent_push_address_t  *address;

    node = ngx_http_intent_push_hub->addresses.root;
    sentinel = ngx_http_intent_push_hub->addresses.sentinel;

    while (node != sentinel) {

        if (hash != node->key) {
            node = (hash < node->key) ? node->left : node->right;
            continue;
        }

        address = (ngx_http_intent_push_address_t *) node;

        rc = ngx_memn2cmp(data, address->data, len, address->len);

        if (rc == 0) {
            return address;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


static void
ngx_http_intent_push_address_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t               **p;
    ngx_http_intent_push_address_t   *a, *b;

    for ( ;; ) {

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            a = (ngx_http_intent_push_address_t *) node;
            b = (ngx_http_intent_push_address_t *) temp;

            p = (ngx_memn2cmp(a->data, b->data, a->len, b->len) < 0)
                ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}
