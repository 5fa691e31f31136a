/* runs.cu - runs of commands: keeping them, telling them apart, putting one command on a stream. */
#include "backend/cuda/commands.cuh"

#include <cstdlib>
#include <cstring>

static bool grow(void **array, size_t *room, size_t want, size_t size) {
    if (want <= *room)
        return true;
    size_t more = *room < 64 ? 64 : 2 * *room;
    while (more < want)
        more *= 2;
    void *larger = realloc(*array, more * size);
    if (larger == NULL)
        return false;
    *array = larger;
    *room = more;
    return true;
}

/* What kn_cuda_extent said of a place. */
static size_t extent_of(const kn_cuda *cuda, const void *at) {
    for (int i = 0; i < cuda->extents; i++)
        if (cuda->extent[i].at == at)
            return cuda->extent[i].bytes;
    return 0;
}

/* A command with room for its arguments, zeroed, at the run's end. NULL: no memory. */
kn_command *kn_run_append(kn_device *d, kn_run *r, const char *name, size_t bytes,
                          const kn_touches *touches) {
    kn_cuda *cuda = kn_cuda_of(d);
    size_t touched = static_cast<size_t>(touches->count);
    void *commands = r->commands, *all = r->bytes, *touch = r->touch;
    size_t whole = kn_run_aligned(bytes);
    bool room = grow(&commands, &r->room, r->count + 1, sizeof(kn_command));
    r->commands = static_cast<kn_command *>(commands);
    room = room && grow(&all, &r->bytes_room, r->used + whole, 1);
    r->bytes = static_cast<unsigned char *>(all);
    room = room && grow(&touch, &r->touch_room, r->touched + touched, sizeof(kn_touch));
    r->touch = static_cast<kn_touch *>(touch);
    if (!room) {
        kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: the command %s for device cuda:%d", name,
                     d->ordinal);
        return NULL;
    }
    kn_command *c = &r->commands[r->count++];
    *c = kn_command();
    c->name = name;
    c->at = r->used;
    c->bytes = bytes;
    memset(r->bytes + r->used, 0, whole);
    r->used += whole;
    c->first_touch = r->touched;
    c->touches = touches->count;
    for (int i = 0; i < touches->count; i++) {
        r->touch[r->touched] = touches->of[i];
        r->touch[r->touched++].bytes = extent_of(cuda, touches->of[i].at);
    }
    cuda->extents = 0;
    return c;
}

void kn_run_clear(kn_run *r) {
    r->count = r->used = r->touched = 0;
}

void kn_run_free(kn_run *r) {
    free(r->commands);
    free(r->bytes);
    free(r->touch);
    *r = kn_run();
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t count) {
    const unsigned char *b = static_cast<const unsigned char *>(bytes);
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ b[i]) * 0x100000001b3ull; /* FNV-1a */
    return hash;
}

/* Of what must be alike for a graph to be patched: a kernel's arguments need not be. */
uint64_t kn_run_hash(const kn_run *r) {
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < r->count; i++) {
        const kn_command *c = &r->commands[i];
        hash = mix(hash, &c->kernel, sizeof c->kernel);
        hash = mix(hash, &c->grid, sizeof c->grid);
        if (c->kernel == NULL) {
            hash = mix(hash, &c->call, sizeof c->call);
            hash = mix(hash, r->bytes + c->at, c->bytes);
        }
    }
    return hash;
}

bool kn_run_copy(const kn_run *from, kn_run *to) {
    to->commands = static_cast<kn_command *>(malloc(from->count * sizeof(kn_command)));
    to->bytes = static_cast<unsigned char *>(malloc(from->used));
    to->touch = static_cast<kn_touch *>(malloc((from->touched + 1) * sizeof(kn_touch)));
    if (to->commands == NULL || to->bytes == NULL || to->touch == NULL)
        return false;
    memcpy(to->commands, from->commands, from->count * sizeof(kn_command));
    memcpy(to->bytes, from->bytes, from->used);
    to->count = to->room = from->count;
    to->used = to->bytes_room = from->used;
    memcpy(to->touch, from->touch, from->touched * sizeof(kn_touch));
    to->touched = to->touch_room = from->touched;
    return true;
}

kn_status kn_cuda_complain(kn_device *d, cudaError_t error, const char *name) {
    if (error == cudaSuccess)
        return KN_OK;
    cudaGetLastError();
    return kn_cuda_fail(d, KN_ERR_DEVICE, "device cuda:%d: %s, at %s", d->ordinal,
                        cudaGetErrorString(error), name);
}

void kn_run_params(const kn_run *r, const kn_command *c, void **params) {
    for (int i = 0; i < c->count; i++)
        params[i] = r->bytes + c->at + c->offset[i];
}

kn_status kn_run_issue(kn_device *d, const kn_run *r, const kn_command *c, cudaStream_t stream) {
    if (c->kernel == NULL)
        return c->call(d, stream, r->bytes + c->at);
    void *params[KN_MOST_PARAMS];
    kn_run_params(r, c, params);
    return kn_cuda_complain(
        d, cudaLaunchKernel(c->kernel, c->grid, c->block, params, c->shared, stream), c->name);
}
