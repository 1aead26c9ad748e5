
/*
 * What the lanes' files of src/store share: a statement of a lane on its way.
 */


#ifndef _NGX_HTTP_INTENT_STORE_LANE_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_INTENT_STORE_LANE_PRIVATE_H_INCLUDED_


#include "ngx_http_intent_store_private.h"
#include "ngx_http_intent_store_lane.h"


typedef struct {
    ngx_http_intent_pg_query_t      query;
    ngx_pool_t                     *pool;
    ngx_http_intent_store_lane_t   *lane;
    ngx_http_intent_store_lane_pt   handler;
    void                           *data;
    ngx_http_intent_transition_t   *transition;
    double                          start;
    ngx_uint_t                      operation;
    u_char                          nothing[1];
} ngx_http_intent_store_lane_op_t;


struct ngx_http_intent_store_rows_s {
    PGresult                       *res;
    ngx_uint_t                      has_tx;
};


/* a statement, in a pool of its own; NULL: no memory */
ngx_http_intent_store_lane_op_t *ngx_http_intent_store_lane_op(
    ngx_http_intent_store_lane_t *lane, ngx_http_intent_pg_stmt_t *stmt,
    ngx_uint_t operation);
/* sends it; NGX_DECLINED: it could not be, and op is gone */
ngx_int_t ngx_http_intent_store_lane_run(ngx_http_intent_store_lane_op_t *op,
    ngx_http_intent_store_lane_pt handler, void *data);
/* says that the lane's epoch does not hold any more */
void ngx_http_intent_store_lane_taken(ngx_http_intent_store_lane_t *lane);


#endif /* _NGX_HTTP_INTENT_STORE_LANE_PRIVATE_H_INCLUDED_ */
