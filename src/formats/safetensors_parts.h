/* safetensors_parts.h - what the reader and the writer of safetensors share. */
#ifndef KN_FORMATS_SAFETENSORS_PARTS_H
#define KN_FORMATS_SAFETENSORS_PARTS_H

#include <kiln/safetensors.h>

/* The file's numbers are little endian and its offsets 64 bits: they are used as they lie. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian hosts are not supported");
_Static_assert(sizeof(size_t) == 8, "32-bit hosts are not supported");

#define KN_ST_METADATA "__metadata__" /* the one key of the header that is not a tensor */

enum { KN_ST_LENGTH = 8 }; /* bytes before the header: its length */

/* "F32", ...: an element type's name in a file. */
const char *kn_st_dtype_code(kn_dtype dtype);

/* The type of that name; false when it is none of ours. */
bool kn_st_dtype_from_code(const char *code, kn_dtype *dtype);

/* name as a message shows it: in quotes, shortened, control characters replaced. Returns text. */
enum { KN_ST_QUOTED = 96 };
const char *kn_st_quote(const char *name, char text[KN_ST_QUOTED]);

/* kn_st_open of a file's bytes, which it owns from then on; path is for messages. Here so that a
 * fuzzer needs no files. */
kn_status kn_st_parse(kn_st_file **out, const char *path, void *bytes, size_t size,
                      const kn_allocator *allocator, kn_error *error);

#endif
