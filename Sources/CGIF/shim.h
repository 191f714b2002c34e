#include <gif_lib.h>

typedef struct {
    const unsigned char *bytes;
    size_t count, position;
} GIFBytes;

static int gif_bytes_read(GifFileType *file, GifByteType *to, int wanted) {
    GIFBytes *from = (GIFBytes *)file->UserData;
    size_t left = from->count - from->position;
    size_t taken = (size_t)wanted < left ? (size_t)wanted : left;
    for (size_t i = 0; i < taken; i++) to[i] = from->bytes[from->position + i];
    from->position += taken;
    return (int)taken;
}

/// Reads a GIF file that lies in memory; `from` and its bytes must outlive what is returned. NULL where it is none.
static inline GifFileType *gif_bytes_open(GIFBytes *from, int *error) { return DGifOpen(from, gif_bytes_read, error); }
