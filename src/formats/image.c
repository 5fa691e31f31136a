/* image.c - reading JPEG and PNG, writing JPEG: the only file that knows libjpeg and libpng.
 *
 * Both libraries report errors by a callback that must not return, so give_up jumps to guard, whose
 * caller destroys the codec's state. There is one setjmp, in guard, and guard changes no local of
 * its own: what steps write lies in the frames of guard's callers, so nothing needs volatile.
 *
 * What is an error follows Pillow where Pillow raises: a file that ends early (also one that lacks
 * only its end marker, for JPEG), a wrong checksum before a PNG's pixels. libjpeg's warnings, such
 * as a restart marker out of place or a scan that a marker ends, are no errors, and the bytes are
 * those libjpeg makes up. It is stricter than Pillow in one place: a PNG whose pixel data is short
 * or fails its checksum is damaged. What follows a PNG's last pixel cannot hurt it. */
#include "core/file.h"
#include "core/text.h"
#include "formats/exif.h"
#include "formats/picture.h"

#include <jpeglib.h>
#include <jerror.h>
#include <png.h>

#include <limits.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS = 16,              /* decoded at a time */
    MAX_SCANS = 500,        /* a progressive file of 1 kB can ask for thousands of passes */
    MAX_PNG_TEXT = 1 << 20, /* of one chunk, after decompression: as Pillow */
    MAX_PNG_CHUNKS = 64,    /* kept ones */
    WRITE_BYTES = 1 << 14,  /* of the encoder's output at a time */
    JPEG_MAX_SIDE = 65500,  /* libjpeg's */
    CMYK = 4,
};

typedef struct job {
    kn_picture *picture; /* NULL while writing */
    const char *name;
    kn_error *error;
    size_t png_at, png_left; /* bytes read; bytes that libpng may still allocate */
    kn_status png_starved;   /* why it was last refused memory */
    bool complete;           /* every pixel is there */
    kn_status status;
    jmp_buf escape;
} job;

static _Noreturn void give_up(job *j, kn_status status, const char *format, ...) KN_PRINTF(3, 4);
static _Noreturn void give_up(job *j, kn_status status, const char *format, ...) {
    if (!j->complete) {
        char reason[512];
        va_list args;
        va_start(args, format);
        vsnprintf(reason, sizeof reason, format, args);
        va_end(args);
        j->status = kn_error_set(j->error, status, "%s: %s", j->name, reason);
    }
    longjmp(j->escape, 1);
}

/* The same when the error has been recorded. */
static void require(job *j, kn_status status) {
    j->status = status;
    if (status != KN_OK)
        longjmp(j->escape, 1);
}

/* Runs steps(arg) until it returns or gives up. */
static kn_status guard(job *j, void (*steps)(void *), void *arg) {
    if (setjmp(j->escape) == 0)
        steps(arg);
    return j->status;
}

static job job_for(kn_picture *p) {
    return (job){.picture = p, .name = p->name, .error = p->error, .png_left = p->limit};
}

static void take_pixels(job *j) {
    kn_picture *p = j->picture;
    p->pixels = kn_picture_room(p, &p->reader->pixels);
    require(j, p->pixels != NULL ? KN_OK : KN_ERR_MEMORY);
}

/* ---- JPEG ---- */

typedef struct jpeg_job {
    job *j;
    struct jpeg_decompress_struct c;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
} jpeg_job;

static _Noreturn void jpeg_failed(j_common_ptr c) {
    char reason[JMSG_LENGTH_MAX];
    c->err->format_message(c, reason);
    switch (c->err->msg_code) {
    case JERR_OUT_OF_MEMORY:
        give_up(c->client_data, KN_ERR_MEMORY, "out of memory: in the JPEG library");
    case JERR_NO_BACKING_STORE:
    case JERR_IMAGE_TOO_BIG:
        give_up(c->client_data, KN_ERR_LIMIT, "the JPEG is too large: %s", reason);
    default:
        give_up(c->client_data, KN_ERR_DATA, "bad JPEG: %s", reason);
    }
}

static void jpeg_ignore(j_common_ptr c, int level) {
    (void)c;
    (void)level;
}

static void source_none(j_decompress_ptr c) {
    (void)c;
}

static boolean source_ended(j_decompress_ptr c) {
    give_up(c->client_data, KN_ERR_DATA, "the JPEG is truncated");
}

static void source_skip(j_decompress_ptr c, long bytes) {
    if (bytes <= 0)
        return;
    if ((size_t)bytes > c->src->bytes_in_buffer)
        source_ended(c);
    c->src->next_input_byte += bytes;
    c->src->bytes_in_buffer -= (size_t)bytes;
}

static void jpeg_watch(j_common_ptr c) {
    if (((j_decompress_ptr)c)->input_scan_number > MAX_SCANS)
        give_up(c->client_data, KN_ERR_LIMIT, "the JPEG has more than %d scans", MAX_SCANS);
}

/* A file of several scans is held whole as 16-bit coefficients. */
static uint64_t coefficient_bytes(const struct jpeg_decompress_struct *c) {
    uint64_t bytes = 0;
    for (int i = 0; i < c->num_components; i++) {
        const jpeg_component_info *p = &c->comp_info[i];
        uint64_t wide = p->width_in_blocks + (uint64_t)p->h_samp_factor;
        uint64_t high = p->height_in_blocks + (uint64_t)p->v_samp_factor;
        bytes += wide * high * sizeof(JBLOCK);
    }
    return bytes;
}

static void jpeg_orientation(kn_picture *p, const struct jpeg_decompress_struct *c) {
    static const char exif[] = "Exif\0", xmp[] = "http://ns.adobe.com/xap/1.0/";
    for (jpeg_saved_marker_ptr m = c->marker_list; m != NULL; m = m->next) {
        if (m->data_length >= sizeof exif && memcmp(m->data, exif, sizeof exif) == 0) {
            if (p->exif == 0)
                p->exif = kn_exif_orientation(m->data, m->data_length);
        } else if (m->data_length >= sizeof xmp && memcmp(m->data, xmp, sizeof xmp) == 0) {
            p->xmp = kn_xmp_orientation((const char *)m->data, m->data_length);
        }
    }
}

/* The inverse DCT gives a half, a quarter or an eighth of the pixels at less than their share of
 * the cost. Taken while the shorter side keeps what the reader asks for. */
static void jpeg_shrink(const kn_picture *picture, struct jpeg_decompress_struct *c) {
    JDIMENSION side = c->image_width < c->image_height ? c->image_width : c->image_height;
    c->scale_num = c->scale_denom = 1;
    if (picture->reader->least_side > 0)
        while (c->scale_denom < DCTSIZE &&
               side / (2 * c->scale_denom) >= (JDIMENSION)picture->reader->least_side)
            c->scale_denom *= 2;
    jpeg_calc_output_dimensions(c);
}

static void jpeg_header(job *j, struct jpeg_decompress_struct *c) {
    kn_picture *picture = j->picture;
    jpeg_read_header(c, TRUE);
    jpeg_shrink(picture, c);
    picture->image.width = (int)c->output_width;
    picture->image.height = (int)c->output_height;
    picture->image.bits = c->data_precision;
    c->out_color_space = c->num_components == CMYK ? JCS_CMYK : JCS_RGB;
    if (c->num_components == CMYK)
        picture->image.form = KN_FORM_CMYK;
    else if (c->num_components == 1)
        picture->image.form = KN_FORM_GREY;
    else if (c->num_components == 3)
        picture->image.form = KN_FORM_RGB;
    else
        give_up(j, KN_ERR_DATA, "a JPEG of %d components has no known colours", c->num_components);
    jpeg_orientation(picture, c);
    uint64_t extra = jpeg_has_multiple_scans(c) ? coefficient_bytes(c) : 0;
    require(j, kn_picture_fits(picture, 1, extra));
}

/* round(a * b / 255) for bytes. */
static unsigned scale255(unsigned a, unsigned b) {
    unsigned t = a * b + 128;
    return (t + (t >> 8)) >> 8;
}

/* As Pillow: the ink values are always taken as Adobe's inverted ones. */
static void cmyk_to_rgb(const uint8_t *in, uint8_t *out, int width) {
    for (int x = 0; x < width; x++, in += CMYK, out += 3)
        for (int i = 0; i < 3; i++)
            out[i] = (uint8_t)(in[3] - scale255(255u - in[i], in[3]));
}

static void jpeg_rows(const kn_picture *picture, struct jpeg_decompress_struct *c) {
    size_t stride = (size_t)picture->image.width * 3;
    JSAMPARRAY ink = NULL;
    if (picture->image.form == KN_FORM_CMYK)
        ink = c->mem->alloc_sarray((j_common_ptr)c, JPOOL_IMAGE, c->output_width * CMYK, 1);
    while (c->output_scanline < c->output_height) {
        uint8_t *first = picture->pixels + c->output_scanline * stride;
        JDIMENSION left = c->output_height - c->output_scanline;
        if (ink != NULL) {
            jpeg_read_scanlines(c, ink, 1);
            cmyk_to_rgb(ink[0], first, picture->image.width);
            continue;
        }
        JSAMPROW rows[ROWS];
        JDIMENSION count = left < ROWS ? left : ROWS;
        for (JDIMENSION i = 0; i < count; i++)
            rows[i] = first + i * stride;
        jpeg_read_scanlines(c, rows, count);
    }
}

static void jpeg_steps(void *arg) {
    jpeg_job *p = arg;
    const kn_picture *picture = p->j->picture;
    struct jpeg_decompress_struct *c = &p->c;
    c->err = jpeg_std_error(&p->errors);
    c->client_data = p->j;
    p->errors.error_exit = jpeg_failed;
    p->errors.emit_message = jpeg_ignore;
    jpeg_create_decompress(c);
    p->source = (struct jpeg_source_mgr){
        .next_input_byte = picture->data,
        .bytes_in_buffer = picture->size,
        .init_source = source_none,
        .fill_input_buffer = source_ended,
        .skip_input_data = source_skip,
        .resync_to_restart = jpeg_resync_to_restart,
        .term_source = source_none,
    };
    c->src = &p->source;
    p->progress.progress_monitor = jpeg_watch;
    c->progress = &p->progress;
    c->mem->max_memory_to_use = picture->limit < LONG_MAX ? (long)picture->limit : LONG_MAX;
    jpeg_save_markers(c, JPEG_APP0 + 1, 0xffff);
    jpeg_header(p->j, c);
    take_pixels(p->j);
    jpeg_start_decompress(c);
    jpeg_rows(picture, c);
    jpeg_finish_decompress(c);
}

kn_status kn_decode_jpeg(kn_picture *picture) {
    job j = job_for(picture);
    jpeg_job p = {.j = &j};
    kn_status status = guard(&j, jpeg_steps, &p);
    jpeg_destroy_decompress(&p.c);
    return status;
}

/* ---- PNG ---- */

typedef struct png_job {
    job *j;
    png_structp png;
    png_infop info;
} png_job;

static _Noreturn void png_failed(png_structp png, png_const_charp reason) {
    job *j = png_get_error_ptr(png);
    if (j->png_starved != KN_OK)
        give_up(j, j->png_starved, "no memory left for the PNG library: %s", reason);
    give_up(j, KN_ERR_DATA, "bad PNG: %s", reason);
}

static void png_ignore(png_structp png, png_const_charp reason) {
    (void)png;
    (void)reason;
}

static void png_take(png_structp png, png_bytep to, size_t bytes) {
    job *j = png_get_io_ptr(png);
    if (bytes > j->picture->size - j->png_at)
        give_up(j, KN_ERR_DATA, "the PNG is truncated");
    memcpy(to, j->picture->data + j->png_at, bytes);
    j->png_at += bytes;
}

/* Counts what libpng ever asks for: a bound of what it holds, without a size at the free. */
static png_voidp png_alloc(png_structp png, png_alloc_size_t bytes) {
    job *j = png_get_mem_ptr(png);
    void *p = bytes <= j->png_left ? malloc(bytes) : NULL;
    if (p == NULL)
        j->png_starved = bytes <= j->png_left ? KN_ERR_MEMORY : KN_ERR_LIMIT;
    else
        j->png_left -= bytes;
    return p;
}

static void png_release(png_structp png, png_voidp p) {
    (void)png;
    free(p);
}

/* The places where PNG writers have put an orientation, in the order in which Pillow looks. */
static void png_orientation(kn_picture *p, png_structp png, png_infop info) {
    png_bytep exif = NULL;
    png_uint_32 bytes = 0;
    if (png_get_eXIf_1(png, info, &bytes, &exif) != 0)
        p->exif = kn_exif_orientation(exif, bytes);
    png_textp text = NULL;
    int count = 0;
    png_get_text(png, info, &text, &count);
    for (int i = 0; i < count; i++) {
        char *value = text[i].text;
        size_t size = text[i].compression >= PNG_ITXT_COMPRESSION_NONE ? text[i].itxt_length
                                                                       : text[i].text_length;
        if (exif == NULL && strcmp(text[i].key, "Raw profile type exif") == 0)
            p->exif = kn_exif_orientation((uint8_t *)value, kn_exif_unhex(value, size));
        else if (strcmp(text[i].key, "XML:com.adobe.xmp") == 0)
            p->xmp = kn_xmp_orientation(value, size);
    }
}

static void png_limits(png_structp png) {
    /* What no pixel depends on is not even parsed; no gamma is applied, as in Pillow. */
    static const png_byte unused[] = "iCCP\0sPLT\0pCAL\0sCAL\0hIST\0gAMA\0cHRM\0sRGB\0bKGD\0tIME";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, unused, (int)sizeof unused / 5);
    png_set_chunk_cache_max(png, MAX_PNG_CHUNKS);
    png_set_chunk_malloc_max(png, MAX_PNG_TEXT);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* kn_picture_fits decides */
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
}

static kn_image_form png_form(int colour_type) {
    switch (colour_type) {
    case PNG_COLOR_TYPE_GRAY:
        return KN_FORM_GREY;
    case PNG_COLOR_TYPE_PALETTE:
        return KN_FORM_PALETTE;
    case PNG_COLOR_TYPE_GRAY_ALPHA:
        return KN_FORM_GREY_ALPHA;
    case PNG_COLOR_TYPE_RGB_ALPHA:
        return KN_FORM_RGBA;
    default:
        return KN_FORM_RGB;
    }
}

/* Any colour form to RGB: alpha is dropped, not blended, and of 16 bits the upper 8 stay. */
static int png_to_rgb(png_structp png, png_infop info) {
    png_set_palette_to_rgb(png);
    png_set_expand_gray_1_2_4_to_8(png);
    png_set_strip_16(png);
    png_set_strip_alpha(png);
    png_set_gray_to_rgb(png);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    return passes;
}

static void png_steps(void *arg) {
    png_job *p = arg;
    job *j = p->j;
    kn_picture *picture = j->picture;
    p->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, j, png_failed, png_ignore, j,
                                      png_alloc, png_release);
    if (p->png != NULL)
        p->info = png_create_info_struct(p->png);
    if (p->info == NULL)
        give_up(j, KN_ERR_MEMORY, "out of memory: in the PNG library");
    png_set_read_fn(p->png, j, png_take);
    png_limits(p->png);
    png_read_info(p->png, p->info);
    picture->image.width = (int)png_get_image_width(p->png, p->info);
    picture->image.height = (int)png_get_image_height(p->png, p->info);
    picture->image.bits = png_get_bit_depth(p->png, p->info);
    picture->image.form = png_form(png_get_color_type(p->png, p->info));
    require(j, kn_picture_fits(picture, 1, 0));
    int passes = png_to_rgb(p->png, p->info);
    size_t stride = (size_t)picture->image.width * 3;
    if (png_get_rowbytes(p->png, p->info) != stride)
        give_up(j, KN_ERR_DATA, "the PNG library does not turn it into RGB");
    take_pixels(j);
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < picture->image.height; y++)
            png_read_row(p->png, picture->pixels + (size_t)y * stride, NULL);
    j->complete = true;
    png_read_end(p->png, p->info); /* an orientation may follow the pixels */
}

kn_status kn_decode_png(kn_picture *picture) {
    job j = job_for(picture);
    png_job p = {.j = &j};
    kn_status status = guard(&j, png_steps, &p);
    if (status == KN_OK)
        png_orientation(picture, p.png, p.info);
    png_destroy_read_struct(&p.png, &p.info, NULL);
    return status;
}

/* ---- writing ---- */

typedef struct write_job {
    job *j;
    const uint8_t *pixels;
    int h, w, quality;
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    struct jpeg_destination_mgr target;
    kn_text *out; /* libjpeg's own memory target leaks when it fails */
    JOCTET buffer[WRITE_BYTES];
} write_job;

static void target_empty(j_compress_ptr c) {
    write_job *p = (write_job *)((char *)c - offsetof(write_job, c));
    kn_text_append(p->out, (const char *)p->buffer, WRITE_BYTES - p->target.free_in_buffer);
    if (p->out->failed)
        give_up(p->j, KN_ERR_MEMORY, "out of memory: the JPEG to be written");
    p->target.next_output_byte = p->buffer;
    p->target.free_in_buffer = WRITE_BYTES;
}

static boolean target_full(j_compress_ptr c) {
    c->dest->free_in_buffer = 0; /* libjpeg leaves an older value there */
    target_empty(c);
    return TRUE;
}

static void target_start(j_compress_ptr c) {
    (void)c;
}

static void write_steps(void *arg) {
    write_job *p = arg;
    struct jpeg_compress_struct *c = &p->c;
    c->err = jpeg_std_error(&p->errors);
    c->client_data = p->j;
    p->errors.error_exit = jpeg_failed;
    p->errors.emit_message = jpeg_ignore;
    jpeg_create_compress(c);
    p->target = (struct jpeg_destination_mgr){
        .next_output_byte = p->buffer,
        .free_in_buffer = WRITE_BYTES,
        .init_destination = target_start,
        .empty_output_buffer = target_full,
        .term_destination = target_empty,
    };
    c->dest = &p->target;
    c->image_width = (JDIMENSION)p->w;
    c->image_height = (JDIMENSION)p->h;
    c->input_components = 3;
    c->in_color_space = JCS_RGB;
    jpeg_set_defaults(c); /* YCbCr 4:2:0, exact integer DCT, the standard Huffman tables */
    jpeg_set_quality(c, p->quality, TRUE);
    jpeg_start_compress(c, TRUE);
    while (c->next_scanline < c->image_height) {
        JSAMPROW row = (JSAMPROW)p->pixels + (size_t)c->next_scanline * (size_t)p->w * 3;
        jpeg_write_scanlines(c, &row, 1);
    }
    jpeg_finish_compress(c);
}

kn_status kn_encode_jpeg(const char *name, const uint8_t *pixels, int h, int w, int quality,
                         kn_text *out, kn_error *error) {
    if (h < 1 || w < 1 || h > JPEG_MAX_SIDE || w > JPEG_MAX_SIDE)
        return kn_error_set(error, KN_ERR_ARG, "%s: %d x %d pixels, a JPEG has 1 to %d a side",
                            name, w, h, JPEG_MAX_SIDE);
    if (quality < 1 || quality > 100)
        return kn_error_set(error, KN_ERR_ARG, "%s: JPEG quality %d, expected 1 to 100", name,
                            quality);
    job j = {.name = name, .error = error};
    write_job p = {.j = &j, .pixels = pixels, .h = h, .w = w, .quality = quality, .out = out};
    kn_status status = guard(&j, write_steps, &p);
    jpeg_destroy_compress(&p.c);
    return status;
}

kn_status kn_image_write_jpeg(const char *path, const uint8_t *pixels, int h, int w, int quality,
                              kn_error *error) {
    kn_text out = {0};
    kn_status status = kn_encode_jpeg(path, pixels, h, w, quality, &out, error);
    if (status == KN_OK)
        status = kn_file_write(path, out.data, out.length, error);
    kn_text_free(&out);
    return status;
}

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x) /* a version, which may be no string */
#ifndef LIBJPEG_TURBO_VERSION
#define LIBJPEG_TURBO_VERSION JPEG_LIB_VERSION
#endif

const char *kn_image_codecs(void) {
    return "libjpeg " TEXT(LIBJPEG_TURBO_VERSION) ", libpng " PNG_LIBPNG_VER_STRING;
}
