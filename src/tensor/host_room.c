/* host_room.c - kn_host_has_room, see engine.h. */
#include "tensor/engine.h"

#include "core/memory.h"

/* Bytes after which it looks again, where memory is not short; and those that everything but
 * tensors may still ask for. */
enum { LOOK = 256 << 20, OTHERS = 64 << 20 };

static void warn(kn_pool *pool, uint64_t reach) {
    const double mib = 1 << 20;
    kn_report(pool->ctx, KN_LOG_WARNING,
              "memory is short: tensors take %.0f MB, and %.0f MB are left; the system may end "
              "this program. Smaller batches or pictures take less",
              (double)pool->taken / mib, (double)reach / mib);
}

/* Where the machine is short of it others may give some back; where a group is, the kernel ends
 * who goes on. Of a buffer a fifth may be unused, which then takes none. */
static bool fits(const kn_pool *pool, size_t bytes, const kn_memory *now) {
    size_t used = pool->taken - pool->taken / 5;
    return used <= now->most && bytes <= now->most - used && bytes + OTHERS <= now->reach_in_groups;
}

bool kn_host_has_room(kn_pool *pool, size_t bytes) {
    kn_host_room *room = &pool->room;
    if (room->unlooked + bytes < LOOK) {
        room->unlooked += bytes;
        return true;
    }
    kn_memory now = kn_memory_now(room->root != NULL ? room->root : "");
    room->most = now.most;
    if (now.most == 0) /* the kernel does not tell */
        return true;
    bool enough = fits(pool, bytes, &now), is_short = now.reach < bytes + LOOK;
    if (is_short && !room->warned && enough) {
        room->warned = true;
        warn(pool, now.reach);
    }
    room->unlooked = enough && !is_short ? 0 : LOOK;
    return enough;
}
