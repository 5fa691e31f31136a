/* host_room.c - kn_host_has_room, see engine.h. */
#include "tensor/engine.h"

#include "core/memory.h"

/* Bytes: when it looks first, and again at the latest; what everything but tensors may yet need. */
enum { FIRST = 32 << 20, LATEST = 256 << 20, OTHERS = 64 << 20 };

static const double mb = 1e6;

static void warn(kn_pool *pool, uint64_t reach) {
    kn_report(pool->ctx, KN_LOG_WARNING,
              "memory is short: tensors take %.0f MB, and %.0f MB are left; the system may end "
              "this program. Smaller batches, pictures or models take less",
              (double)pool->taken / mb, (double)reach / mb);
}

/* Where the machine is short of it others may give some back; where a group is, the kernel ends
 * who goes on. What was asked for and not written to yet, as the gradients of a model that is not
 * trained, takes nothing, and is not counted. */
static bool fits(size_t bytes, const kn_memory *now) {
    return now->own <= now->most && bytes <= now->most - now->own &&
           bytes + OTHERS <= now->reach_in_groups;
}

bool kn_host_has_room(kn_pool *pool, size_t bytes) {
    kn_host_room *room = &pool->room;
    room->asked += bytes;
    if (room->asked < (room->next > 0 ? room->next : FIRST))
        return true;
    kn_memory now = kn_memory_now(room->root != NULL ? room->root : "");
    room->most = now.most;
    room->reach = now.reach;
    if (now.most == 0) /* the kernel does not tell */
        return true;
    bool enough = fits(bytes, &now);
    if (enough && !room->warned && bytes + OTHERS > now.reach) {
        room->warned = true;
        warn(pool, now.reach);
    }
    if (enough) {
        room->asked = 0;
        room->next = now.reach / 4 < LATEST ? (size_t)now.reach / 4 : LATEST;
    }
    return enough;
}
