/* Pillow's bicubic and bilinear resizing and bicubic affine transformation of RGB images, bit for bit, in a part of the time.

   Numbers are computed in Pillow's order and types: weights in double, then in integers of 22 bits; so it must be compiled without
   fusing a multiplication and an addition (-ffp-contract=off). Images are uint8, three channels together. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BITS 22

typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef int32_t ints4 __attribute__((vector_size(16)));
typedef double doubles4 __attribute__((vector_size(32)));

static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

static double bilinear(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static inline uint8_t clipped(int sum) {
    sum >>= BITS;
    return sum < 0 ? 0 : sum > 255 ? 255 : sum;
}

static inline void store(ints4 value, uint8_t *out) {  /* three of four, from 0 to 255 */
    value &= ~(value >> 31);
    ints4 over = value > 255;
    value = (value & ~over) | (over & 255);
    bytes16 low = __builtin_shufflevector((bytes16)value, (bytes16)value, 0, 4, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    int32_t two = ((ints4)low)[0];
    memcpy(out, &two, 2);
    out[2] = value[2];
}

static inline ints4 pixel(const uint8_t *at) {  /* and one byte behind it */
    int32_t four;
    memcpy(&four, at, 4);
    bytes16 some = (bytes16)(ints4){four};
    return (ints4)__builtin_shufflevector(some, some, 0, 8, 8, 8, 1, 8, 8, 8, 2, 8, 8, 8, 3, 8, 8, 8);
}

typedef struct {
    int *first, *count, *weight, most;  /* of each output: its first input, how many, and weights [outputs, most] */
} Axis;

/* Weights of `count` outputs from `first` on, of `inputs` resized to `outputs`; the last of them is the first with `flip` */
static int axis(Axis *result, int inputs, int outputs, int first, int count, int linear, int flip) {
    double scale = (double)((float)inputs - 0.0f) / outputs, wide = scale < 1.0 ? 1.0 : scale, support = linear ? wide : 2.0 * wide;
    double inverse = 1.0 / wide;
    int most = (int)ceil(support) * 2 + 1;
    double *exact = malloc(most * sizeof(double));
    result->first = malloc((2 + (size_t)most) * count * sizeof(int));
    if (!exact || !result->first) {
        free(exact);
        return 0;
    }
    result->count = result->first + count;
    result->weight = result->count + count;
    result->most = most;
    for (int i = 0; i < count; i++) {
        int at = flip ? count - 1 - i : i;
        double centre = (first + i + 0.5) * scale, sum = 0.0;
        int low = (int)(centre - support + 0.5), high = (int)(centre + support + 0.5);
        low = low < 0 ? 0 : low;
        high = (high > inputs ? inputs : high) - low;
        for (int x = 0; x < high; x++) {
            double distance = (x + low - centre + 0.5) * inverse;
            exact[x] = linear ? bilinear(distance) : bicubic(distance);
            sum += exact[x];
        }
        for (int x = 0; x < high; x++) {
            double weight = sum != 0.0 ? exact[x] / sum : exact[x];
            result->weight[at * most + x] = (int)((weight < 0 ? -0.5 : 0.5) + weight * (1 << BITS));
        }
        result->first[at] = low;
        result->count[at] = high;
    }
    free(exact);
    return 1;
}

/* `rows` rows of [inputs from `left` on] to [outputs]: together, as how many inputs an output has is hard to foretell */
static inline __attribute__((always_inline)) void across_rows(
        const uint8_t *in, long stride, int left, const int rows, const Axis *axis, int outputs, uint8_t *out) {
    for (int i = 0; i < outputs; i++) {
        const uint8_t *at = in + 3 * (axis->first[i] - left);
        const int *weight = axis->weight + (long)i * axis->most;
        ints4 sum[4];
        for (int y = 0; y < rows; y++) sum[y] = (ints4){1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1), 0};
        for (int x = 0; x < axis->count[i]; x++)
            for (int y = 0; y < rows; y++) sum[y] += pixel(at + y * stride + 3 * x) * weight[x];
        for (int y = 0; y < rows; y++) store(sum[y] >> BITS, out + 3 * ((long)y * outputs + i));
    }
}

/* [rows, inputs from `left` on] to [rows, outputs]; one byte behind each row is read */
static void across(const uint8_t *in, long stride, int left, int rows, const Axis *axis, int outputs, uint8_t *out) {
    int y = 0;
    for (; y + 4 <= rows; y += 4) across_rows(in + y * stride, stride, left, 4, axis, outputs, out + 3 * (long)y * outputs);
    for (; y < rows; y++) across_rows(in + y * stride, stride, left, 1, axis, outputs, out + 3 * (long)y * outputs);
}

/* [rows from `top` on, width] to [outputs, width] */
static void down(const uint8_t *in, long stride, int top, int width, const Axis *axis, int outputs, int *sums, uint8_t *out) {
    for (int i = 0; i < outputs; i++, out += width) {
        for (int x = 0; x < width; x++) sums[x] = 1 << (BITS - 1);
        for (int y = 0; y < axis->count[i]; y++) {
            const uint8_t *row = in + (axis->first[i] - top + y) * stride;
            int weight = axis->weight[(long)i * axis->most + y];
            for (int x = 0; x < width; x++) sums[x] += row[x] * weight;
        }
        for (int x = 0; x < width; x++) out[x] = clipped(sums[x]);
    }
}

/* Pixels to planes [3, size], the last colour first */
static void apart(const uint8_t *restrict in, long size, uint8_t *restrict out) {
    uint8_t *restrict second = out + size, *restrict third = out + 2 * size;
    for (long i = 0; i < size; i++) {
        out[i] = in[3 * i + 2];
        second[i] = in[3 * i + 1];
        third[i] = in[3 * i];
    }
}

/* An image of in_width x in_height, of which [height, width] from (left, top) on is at `in`, resized to out_width x out_height, of
   which `out` takes [rows, columns] from (x, y) on: mirrored with `flip`, and as planes [3, rows, columns], the last colour first,
   with `planes`. Returns 0 without memory, or without pixels. */
int nepa_resize(const uint8_t *in, long stride, int left, int top, int width, int height, int in_width, int in_height,
                int out_width, int out_height, int x, int y, int columns, int rows, int down_first, int linear, int flip, int planes,
                uint8_t *out) {
    Axis xs = {0}, ys = {0};
    uint8_t *between = NULL, *last = NULL, *whole = planes ? malloc(3 * (long)rows * columns) : out;
    int *sums = NULL, done = 0;
    long between_size = down_first ? (long)rows * width : (long)height * columns;
    if (width > 0 && height > 0 && axis(&xs, in_width, out_width, x, columns, linear, flip) &&
        axis(&ys, in_height, out_height, y, rows, linear, 0) && (between = malloc(3 * between_size + 4)) &&
        (last = malloc(3 * (long)width + 4)) &&
        (sums = malloc(3 * sizeof(int) * (long)(width > columns ? width : columns))) && whole) {
        if (down_first) {
            down(in, stride, top, 3 * width, &ys, rows, sums, between);
            across(between, 3 * width, left, rows, &xs, columns, whole);
        } else {
            across(in, stride, left, height - 1, &xs, columns, between);
            memcpy(last, in + (height - 1) * stride, 3 * width);  /* behind its row may be nothing */
            across(last, 0, left, 1, &xs, columns, between + 3 * (long)(height - 1) * columns);
            down(between, 3 * columns, top, 3 * columns, &ys, rows, sums, whole);
        }
        if (planes) apart(whole, (long)rows * columns, out);
        done = 1;
    }
    free(xs.first);
    free(ys.first);
    free(between);
    free(last);
    free(sums);
    if (planes) free(whole);
    return done;
}

static inline doubles4 colour(const uint8_t *at) {
    return __builtin_convertvector(pixel(at), doubles4);
}

static inline doubles4 cubic(doubles4 v1, doubles4 v2, doubles4 v3, doubles4 v4, double d) {
    doubles4 p2 = -v1 + v3, p3 = 2 * (v1 - v2) + v3 - v4, p4 = -v1 + v2 - v3 + v4;
    return v2 + d * (p2 + d * (p3 + d * p4));
}

/* Of four neighbours in a row, at these places; where d is 0, it is the second, exactly */
static inline doubles4 of_row(const uint8_t *row, const long *at, double d) {
    if (d == 0.0) return colour(row + at[1]);
    return cubic(colour(row + at[0]), colour(row + at[1]), colour(row + at[2]), colour(row + at[3]), d);
}

static inline long within(int x, int size) {
    return x < 0 ? 0 : x < size ? x : size - 1;
}

/* The images are [height, width]; one byte behind `in` is read. `out` is filled with the colour of what is outside. */
void nepa_affine(const uint8_t *in, int width, int height, const double *a, uint8_t *out) {
    for (int row = 0; row < height; row++)
        for (int column = 0; column < width; column++, out += 3) {
            double x = a[0] * (column + 0.5) + a[1] * (row + 0.5) + a[2], y = a[3] * (column + 0.5) + a[4] * (row + 0.5) + a[5];
            if (x < 0.0 || x >= width || y < 0.0 || y >= height) continue;
            x -= 0.5;
            y -= 0.5;
            int left = (int)floor(x), top = (int)floor(y);
            double dx = x - left, dy = y - top;
            long at[4], stride = 3 * (long)width;
            for (int i = 0; i < 4; i++) at[i] = 3 * within(left - 1 + i, width);
            doubles4 value;
            if (dy == 0.0) {
                value = of_row(in + stride * top, at, dx);
            } else {  /* Pillow's first row is the nearest there is, and each that there is not is like the one before */
                doubles4 rows[4];
                rows[0] = of_row(in + stride * within(top - 1, height), at, dx);
                for (int i = 1; i < 4; i++) {
                    int there = top - 1 + i >= 0 && top - 1 + i < height;
                    rows[i] = there ? of_row(in + stride * (top - 1 + i), at, dx) : rows[i - 1];
                }
                value = cubic(rows[0], rows[1], rows[2], rows[3], dy);
            }
            store(__builtin_convertvector(value, ints4), out);
        }
}
