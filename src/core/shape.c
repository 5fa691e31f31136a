/* shape.c - element types and shapes, declared in <kiln/tensor.h>. They stand on the lowest floor
 * because files (src/formats) have shapes too, and know nothing of tensors. */
#include <kiln/tensor.h>

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

size_t kn_dtype_size(kn_dtype dtype) {
    switch (dtype) {
    case KN_F32:
    case KN_I32:
        return 4;
    case KN_BF16:
    case KN_F16:
        return 2;
    case KN_U8:
        return 1;
    case KN_I64:
        return 8;
    }
    assert(false && "not a kn_dtype");
    return 0;
}

const char *kn_dtype_name(kn_dtype dtype) {
    switch (dtype) {
    case KN_F32:
        return "f32";
    case KN_BF16:
        return "bf16";
    case KN_U8:
        return "u8";
    case KN_I32:
        return "i32";
    case KN_I64:
        return "i64";
    case KN_F16:
        return "f16";
    }
    assert(false && "not a kn_dtype");
    return "unknown";
}

/* A product that does not fit is INT64_MAX: more than any allocation gives. Zero wins over that. */
int64_t kn_shape_numel(const kn_shape *shape) {
    int64_t numel = 1;
    bool overflow = false;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] == 0)
            return 0;
        overflow = overflow || __builtin_mul_overflow(numel, shape->dim[i], &numel);
    }
    return overflow ? INT64_MAX : numel;
}

bool kn_shape_equal(const kn_shape *a, const kn_shape *b) {
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

const char *kn_shape_text(const kn_shape *shape, char text[KN_SHAPE_TEXT]) {
    size_t used = 0;
    text[used++] = '[';
    /* 8 numbers of at most 20 characters and their commas: the room cannot run out. */
    for (int i = 0; i < shape->rank; i++)
        used += (size_t)snprintf(text + used, KN_SHAPE_TEXT - used, "%s%" PRId64, i > 0 ? "," : "",
                                 shape->dim[i]);
    text[used++] = ']';
    text[used] = '\0';
    return text;
}
