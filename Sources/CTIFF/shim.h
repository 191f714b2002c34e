#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <tiffio.h>

/// A TIFF file's bytes, and the last thing that was wrong with them.
typedef struct {
    const unsigned char *bytes;
    toff_t count, position;
    char message[512];
} TIFFBytes;

static tmsize_t tiff_bytes_read(thandle_t handle, void *to, tmsize_t wanted) {
    TIFFBytes *from = (TIFFBytes *)handle;
    toff_t left = from->position < from->count ? from->count - from->position : 0;
    toff_t taken = (toff_t)wanted < left ? (toff_t)wanted : left;
    memcpy(to, from->bytes + from->position, taken);
    from->position += taken;
    return (tmsize_t)taken;
}

static tmsize_t tiff_bytes_write(thandle_t handle, void *from, tmsize_t count) { return 0; }

static toff_t tiff_bytes_seek(thandle_t handle, toff_t offset, int whence) {
    TIFFBytes *from = (TIFFBytes *)handle;
    from->position = whence == SEEK_CUR ? from->position + offset : whence == SEEK_END ? from->count + offset : offset;
    return from->position;
}

static int tiff_bytes_close(thandle_t handle) { return 0; }

static toff_t tiff_bytes_size(thandle_t handle) { return ((TIFFBytes *)handle)->count; }

/// libtiff would print it.
static int tiff_bytes_failed(TIFF *file, void *from, const char *module, const char *format, va_list values) {
    vsnprintf(((TIFFBytes *)from)->message, sizeof ((TIFFBytes *)from)->message, format, values);
    return 1;
}

static int tiff_bytes_warned(TIFF *file, void *from, const char *module, const char *format, va_list values) { return 1; }

/// Reads a TIFF file that lies in memory; `from` and its bytes must outlive what is returned. NULL where it is none.
static inline TIFF *tiff_bytes_open(TIFFBytes *from, tmsize_t most_memory) {
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return NULL;
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, most_memory);
    TIFFOpenOptionsSetErrorHandlerExtR(options, tiff_bytes_failed, from);
    TIFFOpenOptionsSetWarningHandlerExtR(options, tiff_bytes_warned, from);
    TIFF *file = TIFFClientOpenExt(
        "", "rm", from, tiff_bytes_read, tiff_bytes_write, tiff_bytes_seek, tiff_bytes_close, tiff_bytes_size, NULL, NULL, options);
    TIFFOpenOptionsFree(options);
    return file;
}

/// A field of one unsigned number; TIFFGetField takes what it fills as variadic arguments.
static inline unsigned tiff_number(TIFF *file, uint32_t tag, unsigned otherwise) {
    uint16_t small = 0;
    uint32_t large = 0;
    const TIFFField *field = TIFFFieldWithTag(file, tag);
    if (!field) return otherwise;
    if (TIFFFieldDataType(field) == TIFF_SHORT) return TIFFGetFieldDefaulted(file, tag, &small) ? small : otherwise;
    return TIFFGetFieldDefaulted(file, tag, &large) ? large : otherwise;
}

/// Whether the first channel beside the colours is alpha; one without a meaning is not.
static inline int tiff_has_alpha(TIFF *file) {
    uint16_t count = 0, *kinds = NULL;
    return TIFFGetFieldDefaulted(file, TIFFTAG_EXTRASAMPLES, &count, &kinds) && count > 0 && kinds[0] != EXTRASAMPLE_UNSPECIFIED;
}

/// Whether it is a camera's raw file: a DNG, or one whose first image is a small preview of what lies below it.
static inline int tiff_is_raw(TIFF *file) {
    for (int i = 0, count = TIFFGetTagListCount(file); i < count; i++)
        if (TIFFGetTagListEntry(file, i) == TIFFTAG_DNGVERSION) return 1;
    uint16_t count = 0;
    uint64_t *below = NULL;
    unsigned preview = tiff_number(file, TIFFTAG_SUBFILETYPE, 0) & FILETYPE_REDUCEDIMAGE;
    return preview && TIFFGetField(file, TIFFTAG_SUBIFD, &count, &below) && count > 0;
}
