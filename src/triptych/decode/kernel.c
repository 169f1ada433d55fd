/* Steps of a plan in C: what decode/interpreter.py computes in numpy, for the rows of one generation.
 *
 * decode/kernel.py fills the structs below from a plan and calls `triptych_run`. Weights are read as they are stored
 * (float32, float16 or bfloat16) and sums are made in float32, in an order that does not depend on the number of rows or
 * threads: one row equals many to the bit. Nothing is allocated after the threads are started.
 *
 * Python has checked every size and every id: nothing is checked again here.
 *
 * Shapes in comments: R rows, W width, H heads, D width of a head, P = D rounded up to 16, V vocabulary, K components.
 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define PANEL 32      /* outputs of a matrix that lie side by side */
#define CHUNK 128     /* inputs that are summed before they join the total: rounding errors grow more slowly */
#define MAX_THREADS 64
#define LEVELS 256    /* intensities of a pixel's channel */
#define KNOWN 3       /* pixels from which the components of a mixture begin in turn: of the source, left, above */
#define MAX_CHANNELS 4
#define MISSING (-1)
#define LINE 64       /* bytes of a line of the cache */
#define BLOCK 64      /* ids whose largest score is compared first */
#define EPSILON 1e-5f /* of a layer norm */

/* Numbers of a vector, and rows and panels whose sums stay in registers. */
#if defined(__AVX512F__)
#define LANES 16
#define MAX_ROWS 6
#define PAIR 2
#elif defined(__AVX2__)
#define LANES 8
#define MAX_ROWS 3
#elif defined(__aarch64__)
#define LANES 4
#define MAX_ROWS 2
#else
#define LANES 4
#define MAX_ROWS 1
#endif
#ifndef PAIR
#define PAIR 1
#endif
#define PARTS (PANEL / LANES) /* vectors of a panel */

#define INLINE static inline __attribute__((always_inline))

/* The vectors of loads and stores need no alignment. */
typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t whole __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

enum { FLOAT32, FLOAT16, BFLOAT16 };                  /* stored formats */
enum { RELU, GELU, SWIGLU, NONE };                    /* activations */
enum { BY_DISTANCE, BY_PITCH, BY_TIME };              /* relations */
enum { FULL, LOCAL_1D, LOCAL_2D };                    /* patterns */
enum { TOKENS, PATCHES, PIXELS };                     /* inputs */
enum { TIED = 1, PATCH, MIXTURE };                    /* heads */
enum { FINE, NOT_FINITE, NOTHING_ALLOWED };           /* what a run returns */

/* ---- what a model is: filled once ------------------------------------------------------------------------------- */

typedef struct {
    const void *weight; /* panels [ceil(out / 32)][in][32], filled up with zeros */
    const float *bias;  /* [out] filled up to whole panels */
    int32_t in, out, format, unused;
} Linear;

typedef struct {
    const float *gain, *bias; /* [W] */
} Norm;

typedef struct {
    Norm norm;
    Linear inner, outer;
} Network;

typedef struct {
    const void *rows; /* [H][count][P], filled up with zeros */
    int32_t count, format, kind, clip, offset, unit, size, unused;
} Relation;

typedef struct {
    Norm norm;
    Linear query_key_value, output;
    Relation relations[3];
    Norm cross_norm;
    Linear cross_query, cross_output;
    Network network;
} Layer;

typedef struct {
    const void *rows; /* [count][stride], W numbers filled up with zeros */
    int32_t count, format;
    float scale;
    int32_t stride;
} Table;

typedef struct {
    const Layer *layers;
    const Network *patch; /* layers of a patch head */
    const double *known;  /* [parameters][(KNOWN - 1) channels], of a mixture head */
    Norm final, patch_norm;
    Linear projection;    /* of what is read, where positions are concatenated; out = 0: none */
    Linear output;        /* of the head */
    Table tokens, second; /* of the input; second: keyboard, repeats, or the pixel above */
    Table before, places, same, times; /* of a patch head */
    int32_t width, heads, head_width, padded, layer_count, relation_count, cross, pre, activation, feed_forward;
    int32_t input, head, size, vocabulary, repeat, channels, components, patch_layers, patch_feed_forward;
    int32_t keys, shifts, velocities;          /* of a keyboard; keys = 0: none */
    int32_t pattern, query, memory, block, table_width;
    int32_t inner_width; /* the widest inner layer, or the parameters of a mixture */
    float query_scale;
} Model;

/* ---- what the rows of one generation are: filled for every run --------------------------------------------------- */

typedef struct {
    int64_t *ids;              /* [R][positions][size] */
    const int64_t *source;     /* the same of an aligned source, or null */
    float *keys, *values;      /* [layers][H][physical][slots][P] */
    int32_t *rows_of;          /* [R][slots]: the physical row in which the key of a slot lies */
    const float *cross;        /* [layers][2][sources][H][source_positions][P] */
    const int32_t *source_of;  /* [R] */
    const int32_t *seen;       /* [sources]: positions of each source that are no padding */
    const float *added;        /* [R or 1][added_columns][W], or null */
    const float *label;        /* [R][W], or null */
    const float *positions;    /* [columns of this run][W] */
    const int32_t *table;      /* [blocks][table_width]: columns that a block of a 2-D pattern sees, -1: none */
    const int64_t *neighbours; /* [positions][2]: left and above, of pixels */
    int64_t *struck, *now, *velocity; /* [R][keys], [R], [R] of a keyboard */
    const double *uniforms;    /* [steps][R], or null: nothing is drawn */
    const uint8_t *allowed;    /* [R][V], or null */
    int64_t *drawn;            /* [steps][R] */
    float *hidden;             /* [R][W]: the decoder's output at the present position */
    float *log_probs;          /* [R][V filled up to whole panels] */
    float *work;               /* see `Space` */
    double *mixture;           /* [R][components (1 + 4 channels + channels^2)] */
    double *weights;           /* [threads][2 V]: weights, and as much for a heap of ids */
    int32_t *lists;            /* [R][1 + relations][keys], then 0, 1, 2, ... of the positions of a source */
    int32_t *counts;           /* [R]: keys of each row */
    int32_t rows, physical, slots, length, positions_count, steps, sources, source_positions, added_rows, added_columns;
    int32_t most_keys, threads, top_k, unused;
    double temperature, top_p, min_p;
} Rows;

/* ---- vectors ------------------------------------------------------------------------------------------------------ */

INLINE vector load(const float *place) { return *(const vector *)place; }
INLINE void store(float *place, vector value) { *(vector *)place = value; }
INLINE vector all(float value) { return value - (vector){0}; }
INLINE vector choose(whole mask, vector yes, vector no) {
    return (vector)((mask & (whole)yes) | (~mask & (whole)no));
}
INLINE vector larger(vector one, vector other) { return choose((whole)(one < other), other, one); }
INLINE vector smaller(vector one, vector other) { return choose((whole)(one > other), other, one); }

/* What a vector's numbers give together, two at a time: its halves, their halves, and so on. */
#define FOLD(name, join)                                                                              \
    INLINE float name(vector value) {                                                                 \
        float half[LANES];                                                                            \
        store(half, value);                                                                           \
        for (int size = LANES / 2; size; size /= 2)                                                   \
            for (int lane = 0; lane < size; lane++) half[lane] = join(half[lane], half[lane + size]); \
        return half[0];                                                                               \
    }
#define SUM(one, other) (one + other)
#define LARGER(one, other) (one > other ? one : other)
FOLD(total, SUM)
FOLD(highest, LARGER)

INLINE vector from_float16(const uint16_t *place) {
#if defined(__AVX512F__)
    return (vector)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)place));
#elif defined(__AVX2__) && defined(__F16C__)
    return (vector)_mm256_cvtph_ps(_mm_loadu_si128((const void *)place));
#elif defined(__aarch64__)
    return (vector)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(place)));
#else
    /* Exponent and mantissa shifted to their places; the product corrects the bias, of subnormal numbers too. */
    whole bits = __builtin_convertvector(*(const halves *)place, whole);
    whole magnitude = (bits & 0x7fff) << 13, infinite = (whole)((bits & 0x7c00) == 0x7c00);
    whole scaled = (whole)((vector)magnitude * 0x1p112f);
    return (vector)(scaled | (infinite & 0x7f800000) | ((bits & 0x8000) << 16));
#endif
}
INLINE vector from_bfloat16(const uint16_t *place) {
#if defined(__AVX512F__)
    return (vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)place)), 16);
#else
    return (vector)(__builtin_convertvector(*(const halves *)place, whole) << 16);
#endif
}
/* Numbers of a stored array; `format` is a constant where it is called. */
INLINE vector read_stored(const void *array, int64_t place, int format) {
    if (format == FLOAT16) return from_float16((const uint16_t *)array + place);
    if (format == BFLOAT16) return from_bfloat16((const uint16_t *)array + place);
    return load((const float *)array + place);
}

/* Add numbers [count] to others. */
static void add_to(float *x, const float *added, int count) {
    int i = 0;
    for (; i + LANES <= count; i += LANES) store(x + i, load(x + i) + load(added + i));
    for (; i < count; i++) x[i] += added[i];
}

/* exp by the quotient and remainder of log 2, and a polynomial of degree 6 on the remainder; 0 below -87.3. */
INLINE vector exponential(vector x) {
    vector clamped = smaller(x, all(88.7f)); /* NaN stays NaN */
    clamped = choose((whole)(clamped < -87.3f), all(-87.3f), clamped);
    vector shifted = clamped * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23: rounds to a whole number */
    vector times = shifted - 12582912.0f;
    vector rest = clamped - times * 0.693359375f;
    rest = rest + times * 2.12194440e-4f;
    vector sum = all(1.9875691500e-4f);
    sum = sum * rest + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * (rest * rest) + rest + 1.0f;
    whole power = (((whole)shifted - 0x4b400000) + 127) << 23;
    vector found = sum * (vector)power;
    return choose((whole)(x < -87.3f), all(0), found);
}

/* x Phi(x): the larger of x and 0 less y (1 - Phi(y)) of y = |x|; the quotient of polynomials is that of
 * decode/arithmetic.py. */
INLINE vector gelu(vector x) {
    vector y = (vector)((whole)x & 0x7fffffff);
    y = smaller(y, all(20.0f));
    vector above = ((y * 0.01159822664f + 0.09479549783f) * y + 0.3154887593f) * y + 0.4999999662f;
    vector below = (((y * 0.02911563495f + 0.2366633161f) * y + 0.8296684434f) * y + 1.428860551f) * y + 1.0f;
    return larger(x, all(0)) - above / below * y * exponential(y * y * -0.5f);
}

INLINE vector activated(vector x, int activation) {
    if (activation == RELU) return larger(x, all(0));
    return activation == GELU ? gelu(x) : x;
}

/* ---- threads ------------------------------------------------------------------------------------------------------ */

/* One pool a process. Who waits spins a while and then sleeps; a child made by fork starts a pool of its own. */
static struct {
    pthread_mutex_t busy, lock;
    pthread_cond_t wake;
    atomic_int arrived, turn, sleepers, job; /* a job: its number times 2 MAX_THREADS, and how many threads it needs */
    int started;
    pid_t process;
    void (*work)(void *, int);
    void *argument;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

#define SPINS 4000 /* about 100 microseconds */

INLINE void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Wait until a counter is no longer `old`. */
static void wait_for(atomic_int *counter, int old) {
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(counter, memory_order_acquire) != old) return;
        relax();
    }
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.sleepers, 1);
    while (atomic_load(counter) == old) pthread_cond_wait(&pool.wake, &pool.lock);
    atomic_fetch_sub(&pool.sleepers, 1);
    pthread_mutex_unlock(&pool.lock);
}

static void wake_all(void) {
    if (atomic_load(&pool.sleepers) == 0) return;
    pthread_mutex_lock(&pool.lock);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
}

/* Wait until so many threads are here. */
static void meet(int threads) {
    if (threads == 1) return;
    int turn = atomic_load(&pool.turn);
    if (atomic_fetch_add(&pool.arrived, 1) == threads - 1) {
        atomic_store(&pool.arrived, 0);
        atomic_fetch_add(&pool.turn, 1);
        wake_all();
    } else {
        wait_for(&pool.turn, turn);
    }
}

static int first_job[MAX_THREADS]; /* that each thread takes */

static void *serve(void *number) {
    int thread = (int)(intptr_t)number;
    for (int job = first_job[thread];;) {
        wait_for(&pool.job, job);
        job = atomic_load(&pool.job); /* one that does not need this thread may have passed; one that does waits for it */
        int size = job % (2 * MAX_THREADS);
        if (thread < size) {
            pool.work(pool.argument, thread);
            meet(size);
        }
    }
    return NULL;
}

/* Start threads until there are so many with the caller; the number there is. The pool is the caller's. */
static int grow(int threads) {
    if (pool.process != getpid()) { /* in a child the parent's threads are not there */
        pool.process = getpid();
        pool.started = 1;
        atomic_store(&pool.arrived, 0);
        atomic_store(&pool.sleepers, 0);
        pthread_mutex_init(&pool.lock, NULL);
        pthread_cond_init(&pool.wake, NULL);
    }
    for (; pool.started < threads && pool.started < MAX_THREADS; pool.started++) {
        pthread_t thread;
        first_job[pool.started] = atomic_load(&pool.job);
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)pool.started)) break;
        pthread_detach(thread);
    }
    return pool.started < threads ? pool.started : threads;
}

/* Let `work(argument, thread)` run in up to so many threads, this one the first. Where the pool is taken: in this one. */
static void in_threads(void (*work)(void *, int), void *argument, int *threads) {
    if (*threads > 1 && pthread_mutex_trylock(&pool.busy) == 0) {
        *threads = grow(*threads);
        pool.work = work;
        pool.argument = argument;
        int number = (atomic_load(&pool.job) / (2 * MAX_THREADS) + 1) % (1 << 20);
        atomic_store(&pool.job, number * 2 * MAX_THREADS + *threads);
        wake_all();
        work(argument, 0);
        meet(*threads);
        pthread_mutex_unlock(&pool.busy);
    } else {
        *threads = 1;
        work(argument, 0);
    }
}

INLINE int64_t filled_up(int64_t count) { return (count + PANEL - 1) / PANEL * PANEL; }

/* Where the share of a thread begins. */
INLINE int share(int count, int thread, int threads) { return (int)((int64_t)count * thread / threads); }

/* ---- products with matrices --------------------------------------------------------------------------------------- */

enum { SET, ADD }; /* what becomes of a product: it replaces what is there, or joins it */

/* The inputs first .. last - 1 of products of `rows` rows of x with `panels` panels, of which `weights` begins with the
 * first of these inputs, join y, or what y begins with. rows, panels and format are constants where it is called: as
 * many sums as there are registers hide each other's latency, and every weight is loaded once for all rows. */
INLINE void tile(
    const void *weights, int64_t apart, const float *x, int64_t x_stride, float *y, int64_t y_stride, int inputs, int rows,
    int panels, int format, const float *bias, int becomes, const char *ahead, int64_t ahead_apart
) {
    vector sum[MAX_ROWS][PAIR * PARTS];
#pragma GCC unroll 8
    for (int row = 0; row < rows; row++)
#pragma GCC unroll 8
        for (int part = 0; part < panels * PARTS; part++) sum[row][part] = all(0);
    for (int i = 0; i < inputs; i++) {
        vector weight[PAIR * PARTS];
#pragma GCC unroll 2
        for (int side = 0; side < panels; side++) __builtin_prefetch(ahead + side * ahead_apart + (int64_t)i * LINE, 0, 2);
#pragma GCC unroll 8
        for (int part = 0; part < panels * PARTS; part++)
            weight[part] = read_stored(weights, part / PARTS * apart + (int64_t)i * PANEL + part % PARTS * LANES, format);
#pragma GCC unroll 8
        for (int row = 0; row < rows; row++)
#pragma GCC unroll 8
            for (int part = 0; part < panels * PARTS; part++) sum[row][part] += weight[part] * x[row * x_stride + i];
    }
#pragma GCC unroll 8
    for (int row = 0; row < rows; row++)
#pragma GCC unroll 8
        for (int part = 0; part < panels * PARTS; part++) {
            float *place = y + row * y_stride + part * LANES;
            vector before = bias ? load(bias + part * LANES) : load(place);
            if (bias && becomes == ADD) before += load(place);
            store(place, before + sum[row][part]);
        }
}

/* The products of all rows with a panel or a pair of them. Of many rows some inputs' weights at a time are made float32,
 * if they are not, and serve all rows while they are near. */
INLINE void panels_of(
    const Linear *linear, int panel, int panels, const float *x, int64_t x_stride, float *y, int64_t y_stride, int rows,
    int becomes
) {
    float scratch[PAIR * CHUNK * PANEL] __attribute__((aligned(64)));
    int tiles = (rows + MAX_ROWS - 1) / MAX_ROWS, wide = linear->format == FLOAT32;
    int64_t start = (int64_t)panel * linear->in * PANEL, apart = (int64_t)linear->in * PANEL;
    y += panel * PANEL;
    for (int first = 0; first < linear->in; first += CHUNK, start += CHUNK * PANEL) {
        const float *bias = first ? NULL : linear->bias + panel * PANEL;
        int inputs = linear->in - first < CHUNK ? linear->in - first : CHUNK;
        const void *weights = wide ? (const void *)((const float *)linear->weight + start) : (const uint16_t *)linear->weight + start;
        int64_t next = first + CHUNK < linear->in ? start + CHUNK * PANEL : (int64_t)(panel + panels) * linear->in * PANEL;
        const char *ahead = (const char *)linear->weight + next * (wide ? 4 : 2);
        int64_t ahead_apart = apart * (wide ? 4 : 2);
        if (rows == 1) {
#define ONE(format) tile(weights, apart, x + first, x_stride, y, y_stride, inputs, 1, panels, format, bias, becomes, ahead, ahead_apart);
            if (linear->format == FLOAT16) ONE(FLOAT16)
            else if (linear->format == BFLOAT16) ONE(BFLOAT16)
            else ONE(FLOAT32)
#undef ONE
            continue;
        }
        int64_t gap = wide ? apart : CHUNK * PANEL;
        for (int side = 0; side < panels && !wide; side++) {
            const uint16_t *from = (const uint16_t *)weights + side * apart;
            float *to = scratch + side * gap;
            if (linear->format == FLOAT16)
                for (int i = 0; i < inputs * PANEL; i += LANES) store(to + i, from_float16(from + i));
            else
                for (int i = 0; i < inputs * PANEL; i += LANES) store(to + i, from_bfloat16(from + i));
        }
        if (!wide) weights = scratch;
        for (int one = 0, row = 0; one < tiles; one++) {
            int last = (int)((int64_t)rows * (one + 1) / tiles);
            const float *from = x + row * x_stride + first;
            float *to = y + row * y_stride;
            switch (last - row) {
#define SOME(n)                                                                                                   \
    case n:                                                                                                       \
        if (n <= MAX_ROWS)                                                                                        \
            tile(weights, gap, from, x_stride, to, y_stride, inputs, n, panels, FLOAT32, bias, becomes,           \
                 ahead + (one & wide) * CHUNK * LINE, ahead_apart);                                               \
        break;
                SOME(6) SOME(5) SOME(4) SOME(3) SOME(2) SOME(1)
#undef SOME
            }
            row = last;
        }
    }
}

/* This thread's share of x W^T + b of `rows` rows, whose y are filled up to whole panels; SwiGLU is applied later. */
static void linear_of(
    const Linear *linear, const float *x, int64_t x_stride, float *y, int64_t y_stride, int rows, int activation,
    int becomes, int thread, int threads
) {
    int panels = (linear->out + PANEL - 1) / PANEL;
    int panel = share(panels, thread, threads), to = share(panels, thread + 1, threads);
    while (panel < to) {
        int some = panel + PAIR <= to ? PAIR : 1;
        if (some == PAIR) panels_of(linear, panel, PAIR, x, x_stride, y, y_stride, rows, becomes);
        else panels_of(linear, panel, 1, x, x_stride, y, y_stride, rows, becomes);
        if (activation == RELU || activation == GELU)
            for (int row = 0; row < rows; row++)
                for (float *at = y + row * y_stride + panel * PANEL, *end = at + some * PANEL; at < end; at += LANES)
                    store(at, activated(load(at), activation));
        panel += some;
    }
}

/* ---- norm, gate, softmax ------------------------------------------------------------------------------------------ */

/* Layer normalisation of x [W] in two passes. y may be x. */
static void normalise(const Norm *norm, const float *x, float *y, int width) {
    int vectors = width / LANES * LANES;
    vector sum = all(0);
    for (int i = 0; i < vectors; i += LANES) sum += load(x + i);
    float mean = total(sum);
    for (int i = vectors; i < width; i++) mean += x[i];
    mean *= 1.0f / (float)width;
    vector squares = all(0);
    for (int i = 0; i < vectors; i += LANES) {
        vector apart = load(x + i) - mean;
        squares += apart * apart;
    }
    float variance = total(squares);
    for (int i = vectors; i < width; i++) variance += (x[i] - mean) * (x[i] - mean);
    float scale = 1.0f / sqrtf(variance * (1.0f / (float)width) + EPSILON);
    for (int i = 0; i < vectors; i += LANES)
        store(y + i, (load(x + i) - mean) * scale * load(norm->gain + i) + load(norm->bias + i));
    for (int i = vectors; i < width; i++) y[i] = (x[i] - mean) * scale * norm->gain[i] + norm->bias[i];
}

/* SiLU(gate) x of inner [2 F], the gate first, into its first half. */
static void gate(float *inner, int feed_forward) {
    for (int i = 0; i < feed_forward; i++) inner[i] = inner[i] / (1.0f + expf(-inner[i])) * inner[feed_forward + i];
}

/* Exponentials of numbers [count], filled up to a whole vector with -infinity, less their largest: in place; their sum. */
INLINE float exponentials(float *scores, int count, float top) {
    vector sum = all(0);
    for (int i = 0; i < count; i += LANES) {
        vector found = exponential(load(scores + i) - top);
        store(scores + i, found);
        sum += found;
    }
    return total(sum);
}

/* The largest of numbers [count], of whole vectors: four at a time, which hide each other's latency. */
INLINE float top_of(const float *scores, int count) {
    vector top[4];
    for (int one = 0; one < 4; one++) top[one] = load(scores);
    for (int first = 0; first < count; first += 4 * LANES)
        for (int one = 0; one < 4 && first + one * LANES < count; one++)
            top[one] = larger(top[one], load(scores + first + one * LANES));
    return highest(larger(larger(top[0], top[1]), larger(top[2], top[3])));
}

/* Logarithms of the softmax of logits [V filled up to whole panels], in place. */
static void log_softmax(float *logits, int vocabulary) {
    int filled = (int)filled_up(vocabulary);
    for (int i = vocabulary; i < filled; i++) logits[i] = -INFINITY;
    float top = top_of(logits, filled);
    double sum = 0;
    for (int first = 0; first < filled; first += 64 * LANES) { /* some at a time in float32 */
        vector some = all(0);
        for (int i = first; i < filled && i < first + 64 * LANES; i += LANES) some += exponential(load(logits + i) - top);
        sum += total(some);
    }
    float shift = (float)log(sum);
    for (int i = 0; i < filled; i += LANES) store(logits + i, (load(logits + i) - top) - shift);
}

/* ---- attention ---------------------------------------------------------------------------------------------------- */

#if LANES == 16
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif LANES == 8
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#else
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#endif
#if defined(__clang__)
#define LANES_OF(one, other, ...) __builtin_shufflevector(one, other, __VA_ARGS__)
#else
#define LANES_OF(one, other, ...) __builtin_shuffle(one, other, (whole){__VA_ARGS__})
#endif

/* The sums of as many vectors as there are lanes: neighbouring lanes are added until a lane of each is left. */
INLINE vector totals(vector *parts) {
#define HALVE(count) \
    _Pragma("GCC unroll 8") for (int one = 0; one < count; one++) \
        parts[one] = LANES_OF(parts[2 * one], parts[2 * one + 1], EVEN) + LANES_OF(parts[2 * one], parts[2 * one + 1], ODD);
#if LANES == 16
    HALVE(8)
#endif
#if LANES >= 8
    HALVE(4)
#endif
    HALVE(2)
    HALVE(1)
#undef HALVE
    return parts[0];
}

/* Add the products of a query [P] with rows of an array to the parts of their sums; a row below 0 adds nothing. */
INLINE void add_products(const float *query, const void *array, const int32_t *rows, int count, int padded, int format, vector *parts) {
    for (int at = 0; at < count; at++) {
        if (rows[at] < 0) continue;
        int64_t start = (int64_t)rows[at] * padded;
        vector sum = parts[at];
        for (int i = 0; i < padded; i += LANES) sum += load(query + i) * read_stored(array, start + i, format);
        parts[at] = sum;
    }
}

/* out [16 parts] of values weighed by scores, of even and odd keys apart: two sums hide each other's latency. */
INLINE void weigh(const float *values, const int32_t *rows, const float *scores, int count, int padded, int parts, float share, float *out) {
    vector even[8], odd[8];
#pragma GCC unroll 8
    for (int part = 0; part < parts; part++) even[part] = odd[part] = all(0);
    int at = 0;
    for (; at + 2 <= count; at += 2) {
        const float *one = values + (int64_t)rows[at] * padded, *other = values + (int64_t)rows[at + 1] * padded;
#pragma GCC unroll 8
        for (int part = 0; part < parts; part++) {
            even[part] += load(one + part * LANES) * scores[at];
            odd[part] += load(other + part * LANES) * scores[at + 1];
        }
    }
    for (; at < count; at++)
#pragma GCC unroll 8
        for (int part = 0; part < parts; part++) even[part] += load(values + (int64_t)rows[at] * padded + part * LANES) * scores[at];
#pragma GCC unroll 8
    for (int part = 0; part < parts; part++) store(out + part * LANES, (even[part] + odd[part]) * share);
}

/* Attention of one query [P], already scaled, to `count` keys and values, rows of arrays [..., P]: out [P]. Lists of
 * rows in the tables of relations follow that of keys, `most` apart. */
INLINE void attend_of(
    const float *query, const float *keys, const float *values, const int32_t *rows, int count, const Relation *relations,
    int relation_count, int most, int head, int padded, float *scores, float *out
) {
    for (int first = 0; first < count; first += LANES) {
        int some = count - first < LANES ? count - first : LANES;
        vector parts[LANES];
#pragma GCC unroll 16
        for (int at = 0; at < LANES; at++) parts[at] = all(0);
        add_products(query, keys, rows + first, some, padded, FLOAT32, parts);
        for (int number = 0; number < relation_count; number++) {
            const Relation *relation = relations + number;
            const int32_t *its_rows = rows + (int64_t)(1 + number) * most + first;
            int64_t start = (int64_t)head * relation->count * padded;
            if (!relation->count) continue;
            const char *table = (const char *)relation->rows + start * (relation->format == FLOAT32 ? 4 : 2);
            add_products(query, table, its_rows, some, padded, relation->format, parts);
        }
        store(scores + first, totals(parts));
    }
    int filled = (count + LANES - 1) / LANES * LANES;
    for (int at = count; at < filled; at++) scores[at] = -INFINITY;
    float share = 1.0f / exponentials(scores, filled, top_of(scores, filled));
    int first = 0; /* 64 numbers of a head at a time, then 32, then 16 */
    for (; first + 64 <= padded && LANES >= 8; first += 64) weigh(values + first, rows, scores, count, padded, 64 / LANES, share, out + first);
    for (; first + 32 <= padded; first += 32) weigh(values + first, rows, scores, count, padded, 32 / LANES, share, out + first);
    for (; first < padded; first += 16) weigh(values + first, rows, scores, count, padded, 16 / LANES, share, out + first);
}

static void attend(
    const float *query, const float *keys, const float *values, const int32_t *rows, int count, const Relation *relations,
    int relation_count, int most, int head, int padded, float *scores, float *out
) {
#define OF(padded) attend_of(query, keys, values, rows, count, relations, relation_count, most, head, padded, scores, out)
    if (padded == 32) OF(32);
    else if (padded == 64) OF(64);
    else OF(padded);
#undef OF
}

/* ---- what a position reads ---------------------------------------------------------------------------------------- */

/* Add a weighed row of a table to x, which is filled up as it is. */
INLINE void add_row(const Table *table, int64_t row, float weight, float *x, int width) {
    int filled = (width + LANES - 1) / LANES * LANES;
    float scale = table->scale * weight;
    for (int i = 0; i < filled; i += LANES)
        store(x + i, load(x + i) + read_stored(table->rows, row * table->stride + i, table->format) * scale);
}

/* One more event of the keyboard of a row, and its features: decode/steps/keyboard.py. */
static void read_keyboard(const Model *model, const Rows *rows, int row, int64_t id, float *x) {
    int64_t *struck = rows->struck + (int64_t)row * model->keys, *now = rows->now + row, *velocity = rows->velocity + row;
    int64_t shift = id - 2 * model->keys + 1, loud = id - 2 * model->keys - model->shifts;
    if (shift > 0 && shift <= model->shifts) *now += shift;
    if (id < 2 * model->keys) struck[id % model->keys] = id < model->keys ? *now : MISSING;
    if (loud >= 0 && loud < model->velocities) *velocity = loud;
    for (int key = 0; key < model->keys; key++)
        if (struck[key] >= 0) add_row(&model->second, key, 1, x, model->width);
    for (int key = 0; key < model->keys; key++)
        if (struck[key] >= 0)
            add_row(&model->second, model->keys + key, (float)(log1p((double)(*now - struck[key])) / 4), x, model->width);
    if (*velocity >= 0) add_row(&model->second, 2 * model->keys + *velocity, 1, x, model->width);
}

/* For how many positions in succession the id at a place of a position was there before, up to repeat - 1. */
static int repeats(const Model *model, const int64_t *ids, int position, int place) {
    int count = 0;
    while (count < model->repeat - 1 && position - count - 1 >= 0 &&
           ids[(int64_t)(position - count - 1) * model->size + place] == ids[(int64_t)position * model->size + place])
        count++;
    return count;
}

/* What the present position of a row reads: x [W]. */
static void read_input(const Model *model, const Rows *rows, int row, int position, float *x) {
    memset(x, 0, sizeof(float) * (size_t)model->width);
    if (!position) return;
    const int64_t *ids = rows->ids + (int64_t)row * rows->positions_count * model->size;
    const int64_t *last = ids + (int64_t)(position - 1) * model->size;
    if (model->input == TOKENS) {
        add_row(&model->tokens, last[0], 1, x, model->width);
        if (model->keys) read_keyboard(model, rows, row, last[0], x);
        return;
    }
    int each = model->input == PIXELS ? LEVELS : model->vocabulary;
    for (int place = 0; place < model->size; place++) add_row(&model->tokens, (int64_t)each * place + last[place], 1, x, model->width);
    if (model->input == PATCHES && model->repeat)
        for (int place = 0; place < model->size; place++)
            add_row(&model->second, (int64_t)model->repeat * place + repeats(model, ids, position - 1, place), 1, x, model->width);
    if (model->input == PIXELS && model->second.count) {
        int64_t above = rows->neighbours[2 * position + 1];
        if (above != MISSING)
            for (int place = 0; place < model->size; place++)
                add_row(&model->second, (int64_t)each * place + ids[above * model->size + place], 1, x, model->width);
    }
}

/* ---- the columns that a position sees ------------------------------------------------------------------------------ */

/* The coordinate of a position of a row in a relation that reads ids, as a query or a key: shape/relations.py. */
INLINE int64_t coordinate(const Model *model, const Rows *rows, const Relation *relation, int row, int position, int is_key) {
    if (relation->kind == BY_TIME) {
        int64_t from = is_key ? position - 1 : position;
        return from >= 0 ? from / relation->unit : -((-from + relation->unit - 1) / relation->unit);
    }
    int64_t id = position ? rows->ids[((int64_t)row * rows->positions_count + position - 1) * model->size] : MISSING;
    if (id >= 0 && id < relation->size) return id;
    return is_key ? -(1 << 20) : 1 << 20;
}

/* Where the lists of a row begin; those after the last row are the positions of a source, in order. */
INLINE int32_t *list_of(const Model *model, const Rows *rows, int row) {
    return rows->lists + (int64_t)row * (1 + model->relation_count) * rows->most_keys;
}

/* Lists [keys] of a row at a position: where each key lies among the physical rows, and its row in each relation's
 * table, -1 for none. Returns how many there are. */
static int list_keys(const Model *model, const Rows *rows, int row, int position, int32_t *list) {
    int count = 0;
    const int32_t *physical = rows->rows_of + (int64_t)row * rows->slots;
    int32_t *columns = list; /* columns first: the lists of relations are made of them */
    if (model->pattern == LOCAL_2D) {
        const int32_t *seen = rows->table + (int64_t)(position / model->block) * model->table_width;
        for (int at = 0; at < model->table_width; at++)
            if (seen[at] >= 0 && seen[at] <= position) columns[count++] = seen[at];
    } else {
        int start = 0;
        if (model->pattern == LOCAL_1D) start = position / model->query * model->query - model->memory;
        for (int column = start > 0 ? start : 0; column <= position; column++) columns[count++] = column;
    }
    for (int number = 0; number < model->relation_count; number++) {
        const Relation *relation = NULL; /* of the first layer that has it: all agree but for their tables */
        for (int layer = 0; layer < model->layer_count && !relation; layer++)
            if (model->layers[layer].relations[number].count) relation = &model->layers[layer].relations[number];
        if (!relation) continue;
        int32_t *found = list + (int64_t)(1 + number) * rows->most_keys;
        int64_t query = position, last = relation->count - 1;
        if (relation->kind != BY_DISTANCE) query = coordinate(model, rows, relation, row, position, 0);
        for (int at = 0; at < count; at++) {
            int64_t key = columns[at];
            if (relation->kind != BY_DISTANCE) key = coordinate(model, rows, relation, row, columns[at], 1);
            int64_t place = query - key + relation->offset;
            if (relation->clip) place = place < 0 ? 0 : place > last ? last : place;
            found[at] = place < 0 || place > last ? -1 : (int32_t)place;
        }
    }
    for (int at = 0; at < count; at++) {
        int slot = columns[at] % rows->slots;
        columns[at] = physical[slot] * rows->slots + slot;
    }
    return count;
}

/* ---- a column, in threads ----------------------------------------------------------------------------------------- */

/* Working memory, of floats, as decode/kernel.py reserves it: every row of W is filled up to whole panels. */
typedef struct {
    const Model *model;
    const Rows *rows;
    float *x, *read, *three, *inner, *mixed, *query, *scores;
    int64_t wide, three_wide, inner_wide, words_wide, query_wide, scores_wide;
    int threads, failed;
    int32_t *counts; /* [R]: keys of each row */
} Space;

/* Read norm(x) in a pre-norm model, x in another. */
static const float *normed(Space *space, const Norm *norm, const float *x, int thread) {
    const Model *model = space->model;
    if (!model->pre) return x;
    int rows = space->rows->rows;
    for (int row = share(rows, thread, space->threads); row < share(rows, thread + 1, space->threads); row++)
        normalise(norm, x + row * space->wide, space->read + row * space->wide, model->width);
    meet(space->threads);
    return space->read;
}

/* In a post-norm model: x = norm(x). The products before it end here in any case. */
static void joined(Space *space, const Norm *norm, float *x, int thread) {
    int rows = space->rows->rows;
    meet(space->threads);
    if (space->model->pre) return;
    for (int row = share(rows, thread, space->threads); row < share(rows, thread + 1, space->threads); row++)
        normalise(norm, x + row * space->wide, x + row * space->wide, space->model->width);
    meet(space->threads);
}

/* x [R, W] after a feed-forward network and the norm around it. */
static void network_of(Space *space, const Network *network, float *x, int feed_forward, int thread) {
    const Model *model = space->model;
    int rows = space->rows->rows, threads = space->threads;
    const float *read = normed(space, &network->norm, x, thread);
    linear_of(&network->inner, read, space->wide, space->inner, space->inner_wide, rows, model->activation, SET, thread, threads);
    meet(threads);
    if (model->activation == SWIGLU) {
        for (int row = share(rows, thread, threads); row < share(rows, thread + 1, threads); row++)
            gate(space->inner + row * space->inner_wide, feed_forward);
        meet(threads);
    }
    linear_of(&network->outer, space->inner, space->inner_wide, x, space->wide, rows, NONE, ADD, thread, threads);
    joined(space, &network->norm, x, thread);
}

/* Attention of a row's head, whose query lies at `from`, into its place in `mixed`. */
static void attend_head(
    Space *space, int thread, int row, int head, const float *from, const float *keys, const float *values,
    const int32_t *list, int count, const Relation *relations, int relation_count
) {
    const Model *model = space->model;
    float *query = space->query + thread * space->query_wide, *out = query + model->padded;
    for (int i = 0; i < model->padded; i += LANES) store(query + i, load(from + i) * model->query_scale);
    for (int i = model->head_width; i < model->padded; i++) query[i] = 0;
    attend(
        query, keys, values, list, count, relations, relation_count, space->rows->most_keys, head, model->padded,
        space->scores + thread * space->scores_wide, out
    );
    memcpy(space->mixed + row * space->wide + (int64_t)head * model->head_width, out, sizeof(float) * (size_t)model->head_width);
}

/* Self-attention of rows and heads [R, H], of which this thread takes its share: their keys and values go to the cache. */
static void self_attention(Space *space, int number, int position, int thread) {
    const Model *model = space->model;
    const Rows *rows = space->rows;
    const Layer *layer = model->layers + number;
    int heads = model->heads, width = model->width, head_width = model->head_width, padded = model->padded;
    int slot = position % rows->slots, tasks = rows->rows * heads;
    int64_t of_head = (int64_t)rows->physical * rows->slots * padded;
    for (int task = share(tasks, thread, space->threads); task < share(tasks, thread + 1, space->threads); task++) {
        int row = task / heads, head = task % heads;
        const float *three = space->three + row * space->three_wide + (int64_t)head * head_width;
        int64_t start = ((int64_t)number * heads + head) * of_head, here = start + ((int64_t)row * rows->slots + slot) * padded;
        memcpy(rows->keys + here, three + width, sizeof(float) * (size_t)head_width);
        memcpy(rows->values + here, three + 2 * width, sizeof(float) * (size_t)head_width);
        attend_head(
            space, thread, row, head, three, rows->keys + start, rows->values + start, list_of(model, rows, row),
            space->counts[row], layer->relations, model->relation_count
        );
    }
}

/* Attention of rows and heads to their sources. The lists of rows are the first positions, in order. */
static void cross_attention(Space *space, int number, int thread) {
    const Model *model = space->model;
    const Rows *rows = space->rows;
    int heads = model->heads, head_width = model->head_width, padded = model->padded, tasks = rows->rows * heads;
    int64_t of_head = (int64_t)rows->source_positions * padded, half = of_head * heads * rows->sources;
    const int32_t *in_order = list_of(model, rows, rows->rows);
    for (int task = share(tasks, thread, space->threads); task < share(tasks, thread + 1, space->threads); task++) {
        int row = task / heads, head = task % heads, source = rows->source_of[row];
        const float *keys = rows->cross + 2 * number * half + ((int64_t)source * heads + head) * of_head;
        const float *from = space->three + row * space->three_wide + (int64_t)head * head_width;
        attend_head(space, thread, row, head, from, keys, keys + half, in_order, rows->seen[source], NULL, 0);
    }
}

/* The decoder's output at a position, into rows->hidden: what this thread does of it. */
static void column(Space *space, int position, int first_position, int thread) {
    const Model *model = space->model;
    const Rows *rows = space->rows;
    int threads = space->threads, width = model->width, count = rows->rows;
    float *x = space->x;
    const float *vectors = rows->positions + (int64_t)(position - first_position) * width;
    int from = share(count, thread, threads), to = share(count, thread + 1, threads);
    for (int row = from; row < to; row++) {
        float *read = model->projection.out ? space->read + row * space->wide : x + row * space->wide;
        read_input(model, rows, row, position, read);
        rows->rows_of[(int64_t)row * rows->slots + position % rows->slots] = row;
        space->counts[row] = list_keys(model, rows, row, position, list_of(model, rows, row));
    }
    meet(threads);
    if (model->projection.out) {
        linear_of(&model->projection, space->read, space->wide, x, space->wide, count, NONE, SET, thread, threads);
        meet(threads);
    }
    for (int row = from; row < to; row++) {
        float *of_row = x + row * space->wide;
        add_to(of_row, vectors, width);
        if (rows->added && position < rows->added_columns)
            add_to(of_row, rows->added + ((int64_t)(rows->added_rows > 1 ? row : 0) * rows->added_columns + position) * width, width);
        if (rows->label) add_to(of_row, rows->label + (int64_t)row * width, width);
    }
    meet(threads);
    for (int number = 0; number < model->layer_count; number++) {
        const Layer *layer = model->layers + number;
        const float *read = normed(space, &layer->norm, x, thread);
        linear_of(&layer->query_key_value, read, space->wide, space->three, space->three_wide, count, NONE, SET, thread, threads);
        meet(threads);
        self_attention(space, number, position, thread);
        meet(threads);
        linear_of(&layer->output, space->mixed, space->wide, x, space->wide, count, NONE, ADD, thread, threads);
        joined(space, &layer->norm, x, thread);
        if (model->cross) {
            read = normed(space, &layer->cross_norm, x, thread);
            linear_of(&layer->cross_query, read, space->wide, space->three, space->three_wide, count, NONE, SET, thread, threads);
            meet(threads);
            cross_attention(space, number, thread);
            meet(threads);
            linear_of(&layer->cross_output, space->mixed, space->wide, x, space->wide, count, NONE, ADD, thread, threads);
            joined(space, &layer->cross_norm, x, thread);
        }
        network_of(space, &layer->network, x, model->feed_forward, thread);
    }
    for (int row = from; row < to; row++) {
        float *hidden = rows->hidden + (int64_t)row * width;
        if (model->pre) normalise(&model->final, x + row * space->wide, hidden, width);
        else memcpy(hidden, x + row * space->wide, sizeof(float) * (size_t)width);
    }
    meet(threads);
}

/* ---- heads -------------------------------------------------------------------------------------------------------- */

/* Log-probabilities [R, V] of the next token, of the decoder's output. */
static void categorical_head(Space *space, int position, int place, int thread) {
    const Model *model = space->model;
    const Rows *rows = space->rows;
    int threads = space->threads, width = model->width, count = rows->rows, vocabulary = model->vocabulary;
    int from = share(count, thread, threads), to = share(count, thread + 1, threads);
    float *x = space->x;
    for (int row = from; row < to; row++) {
        float *of_row = x + row * space->wide;
        memcpy(of_row, rows->hidden + (int64_t)row * width, sizeof(float) * (size_t)width);
        if (model->head != PATCH) continue;
        const int64_t *ids = rows->ids + (int64_t)row * rows->positions_count * model->size;
        const int64_t *here = ids + (int64_t)position * model->size;
        add_row(&model->places, place, 1, of_row, width);
        for (int before = 0; before < place; before++)
            add_row(&model->before, here[before] + (int64_t)vocabulary * before, 1, of_row, width);
        if (model->repeat && position) {
            add_row(&model->same, here[place - model->size] + (int64_t)vocabulary * place, 1, of_row, width);
            int times = repeats(model, ids, position - 1, place);
            add_row(&model->times, times + (int64_t)model->repeat * place, 1, of_row, width);
        }
    }
    meet(threads);
    const float *read = x;
    if (model->head == PATCH) {
        for (int number = 0; number < model->patch_layers; number++)
            network_of(space, model->patch + number, x, model->patch_feed_forward, thread);
        read = normed(space, &model->patch_norm, x, thread);
    }
    linear_of(&model->output, read, space->wide, rows->log_probs, space->words_wide, count, NONE, SET, thread, threads);
    meet(threads);
    for (int row = from; row < to; row++) log_softmax(rows->log_probs + row * space->words_wide, vocabulary);
}

/* Numbers of a mixture of a row, all [K] for each channel c: log weights; means [c]; inverse scales [c]; where components
 * begin, base [c]; slopes [pair]. decode/steps/pixels.py */
typedef struct {
    double *log_weights, *means, *inverse, *base, *slopes;
    int components, channels;
} Pixel;

INLINE Pixel pixel_of(const Model *model, const Rows *rows, int row) {
    int K = model->components, C = model->channels;
    double *start = rows->mixture + (int64_t)row * K * (1 + 4 * C + C * C);
    return (Pixel){start, start + K, start + K * (1 + C), start + K * (1 + 2 * C), start + K * (1 + 3 * C), K, C};
}

INLINE double intensity(int64_t level) { return (double)level * (2.0 / (LEVELS - 1)) - 1; }
INLINE double bound(int level) { return (double)(level + 1) * (2.0 / (LEVELS - 1)) - (1 + 1.0 / (LEVELS - 1)); }

/* The known pixels beside the next one of a row: source, left and above, one for another where one is missing; 0: all are. */
static int known_pixels(const Model *model, const Rows *rows, int row, int position, int channel, int64_t known[KNOWN]) {
    const int64_t *ids = rows->ids + (int64_t)row * rows->positions_count * model->size;
    int64_t left = rows->neighbours[2 * position], above = rows->neighbours[2 * position + 1], source = MISSING;
    left = left == MISSING ? MISSING : ids[left * model->size + channel];
    above = above == MISSING ? MISSING : ids[above * model->size + channel];
    if (rows->source) {
        source = rows->source[((int64_t)row * rows->positions_count + position) * model->size + channel];
        if (source >= LEVELS) source = MISSING;
    }
    if (left == MISSING) left = above;
    if (left == MISSING) left = source;
    known[0] = source == MISSING ? left : source;
    known[1] = left;
    known[2] = above == MISSING ? left : above;
    return known[0] != MISSING;
}

/* Begin the mixture of a pixel of a row, of its parameters but for what the known pixels add. Whether all is finite. */
static int begin_pixel(const Model *model, const Rows *rows, int row, int position, const float *parameters) {
    int K = model->components, C = model->channels, numbers = 1 + 2 * C + C * (C - 1) / 2;
    Pixel pixel = pixel_of(model, rows, row);
    double apart[(KNOWN - 1) * MAX_CHANNELS], known_values[KNOWN][MAX_CHANNELS];
    for (int channel = 0; channel < C; channel++) {
        int64_t known[KNOWN];
        int is_known = known_pixels(model, rows, row, position, channel, known);
        for (int one = 0; one < KNOWN; one++) known_values[one][channel] = is_known ? intensity(known[one]) : 0;
    }
    for (int one = 1; one < KNOWN; one++)
        for (int channel = 0; channel < C; channel++)
            apart[(one - 1) * C + channel] = known_values[one][channel] - known_values[0][channel];
    double sum = 0, top = -INFINITY;
    for (int number = 0; number < numbers; number++)
        for (int k = 0; k < K; k++) {
            int at = number * K + k;
            double value = parameters[at];
            for (int i = 0; i < (KNOWN - 1) * C; i++) value += apart[i] * model->known[(int64_t)at * (KNOWN - 1) * C + i];
            sum += value;
            if (number == 0) pixel.log_weights[k] = value, top = value > top ? value : top;
            else if (number <= C) pixel.means[(number - 1) * K + k] = value;
            else if (number <= 2 * C) pixel.inverse[(number - 1 - C) * K + k] = exp(value > -7.0 ? value : -7.0);
            else pixel.slopes[(number - 1 - 2 * C) * K + k] = tanh(value);
        }
    double all_weights = 0;
    for (int k = 0; k < K; k++) all_weights += exp(pixel.log_weights[k] - top);
    for (int k = 0; k < K; k++) pixel.log_weights[k] -= top + log(all_weights);
    for (int channel = 0; channel < C; channel++)
        for (int k = 0; k < K; k++) {
            int at = channel * K + k;
            pixel.base[at] = known_values[k % KNOWN][channel];
            pixel.means[at] = pixel.base[at] + pixel.means[at] * pixel.inverse[at];
            pixel.inverse[at] = 1 / pixel.inverse[at];
            sum += pixel.means[at];
        }
    return isfinite(sum);
}

/* The mean of a component at a channel, given the channels before. */
INLINE double mean_of(const Pixel *pixel, const int64_t *taken, int channel, int k) {
    double mean = pixel->means[channel * pixel->components + k];
    for (int before = 0; before < channel; before++)
        mean += pixel->slopes[(channel * (channel - 1) / 2 + before) * pixel->components + k] *
                (intensity(taken[before]) - pixel->base[before * pixel->components + k]);
    return mean;
}

INLINE double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

/* Condition the weights on the intensity that a channel took. */
static void take_channel(const Pixel *pixel, const int64_t *taken, int channel) {
    int64_t level = taken[channel];
    double top = -INFINITY, sum = 0;
    for (int k = 0; k < pixel->components; k++) {
        double mean = mean_of(pixel, taken, channel, k), inverse = pixel->inverse[channel * pixel->components + k];
        if (level > 0) pixel->log_weights[k] -= softplus((bound((int)level - 1) - mean) * inverse);
        if (level < LEVELS - 1) pixel->log_weights[k] -= softplus((mean - bound((int)level)) * inverse);
        if (level > 0 && level < LEVELS - 1) pixel->log_weights[k] += log(-expm1(-2.0 / (LEVELS - 1) * inverse));
        if (pixel->log_weights[k] > top) top = pixel->log_weights[k];
    }
    for (int k = 0; k < pixel->components; k++) sum += exp(pixel->log_weights[k] - top);
    for (int k = 0; k < pixel->components; k++) pixel->log_weights[k] -= top + log(sum);
}

/* The intensity of a channel where a uniform number falls in its cumulative distribution, found by halving. */
static int64_t draw_channel(const Pixel *pixel, const int64_t *taken, int channel, double uniform) {
    int low = 0, high = LEVELS - 1; /* the number of bounds below which there is no more than the uniform number */
    while (low < high) {
        int middle = (low + high) / 2;
        double below = 0;
        for (int k = 0; k < pixel->components; k++)
            below += exp(pixel->log_weights[k]) * tanh((mean_of(pixel, taken, channel, k) - bound(middle)) *
                                                       (-0.5 * pixel->inverse[channel * pixel->components + k]));
        if (below <= 2 * uniform - 1) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* ---- draws: generation/sampling.py -------------------------------------------------------------------------------- */

/* Whether weight a of id i comes before weight b of id j: the larger first, of equals the lower id. */
INLINE int comes_before(double a, int i, double b, int j) { return a > b || (a == b && i < j); }

/* Let the entry at a place of a heap of ids, the first on top, sink to where it belongs. */
static void sink(const double *weights, int32_t *heap, int size, int at) {
    for (;;) {
        int first = at;
        for (int child = 2 * at + 1; child <= 2 * at + 2 && child < size; child++)
            if (comes_before(weights[heap[child]], heap[child], weights[heap[first]], heap[first])) first = child;
        if (first == at) return;
        int32_t moved = heap[at];
        heap[at] = heap[first];
        heap[first] = moved;
        at = first;
    }
}

/* Keep the top_k largest weights, and of these the fewest that hold a share top_p of them; the others become 0. The heap
 * holds twice as many ids as there are weights. */
static void keep_largest(double *weights, int vocabulary, int top_k, double top_p, int32_t *heap) {
    int kept = top_k && top_k < vocabulary ? top_k : vocabulary, size = vocabulary;
    int32_t *order = heap + vocabulary;
    for (int id = 0; id < vocabulary; id++) heap[id] = id;
    for (int at = vocabulary / 2 - 1; at >= 0; at--) sink(weights, heap, size, at);
    double sum = 0, before = 0;
    for (int at = 0; at < kept; at++) {
        order[at] = heap[0];
        sum += weights[heap[0]];
        heap[0] = heap[--size];
        sink(weights, heap, size, 0);
    }
    for (int at = 0; at < size; at++) weights[heap[at]] = 0;
    for (int at = 0; at < kept; at++) {
        double weight = weights[order[at]];
        if (top_p < 1 && before >= top_p * sum) weights[order[at]] = 0;
        before += weight;
    }
}

/* One id of a row by its log-probabilities [V]. */
static int draw_token(const Model *model, const Rows *rows, int row, double uniform, double *weights, int32_t *heap, int64_t *drawn) {
    int vocabulary = model->vocabulary, best = -1;
    const float *log_probs = rows->log_probs + row * filled_up(vocabulary);
    const uint8_t *allowed = rows->allowed ? rows->allowed + (int64_t)row * vocabulary : NULL;
    float top = -INFINITY, any = -INFINITY;
    for (int id = 0; id < vocabulary; id++) {
        float value = log_probs[id];
        if (isnan(value)) return NOT_FINITE;
        if (value > any) any = value;
        if ((!allowed || allowed[id]) && value > top) top = value, best = id;
    }
    if (!isfinite(any)) return NOT_FINITE;
    if (best < 0) return NOTHING_ALLOWED;
    if (rows->temperature == 0) {
        *drawn = best;
        return FINE;
    }
    double sum = 0, most = 0;
    for (int id = 0; id < vocabulary; id++) {
        double apart = (double)log_probs[id] - (double)top;
        if (rows->temperature != 1) apart /= rows->temperature;
        weights[id] = !allowed || allowed[id] ? exp(apart) : 0;
    }
    if ((rows->top_k && rows->top_k < vocabulary) || rows->top_p < 1)
        keep_largest(weights, vocabulary, rows->top_k, rows->top_p, heap);
    if (rows->min_p > 0) {
        for (int id = 0; id < vocabulary; id++) most = weights[id] > most ? weights[id] : most;
        for (int id = 0; id < vocabulary; id++)
            if (weights[id] < rows->min_p * most) weights[id] = 0;
    }
    for (int id = 0; id < vocabulary; id++) sum += weights[id];
    double mark = uniform * sum, so_far = 0;
    int found = 0;
    for (int id = 0; id < vocabulary; id++) {
        so_far += weights[id];
        if (so_far > mark) break;
        found++;
    }
    *drawn = found;
    return FINE;
}

/* ---- a run -------------------------------------------------------------------------------------------------------- */

/* The next ids of rows: the mixture's channels, which need no distribution of all intensities. */
static void mixture_head(Space *space, int position, int place, int begun, int step, int thread) {
    const Model *model = space->model;
    const Rows *rows = space->rows;
    int count = rows->rows, threads = space->threads;
    if (!begun) {
        linear_of(&model->output, rows->hidden, model->width, space->inner, space->inner_wide, count, NONE, SET, thread, threads);
        meet(threads);
    }
    for (int row = share(count, thread, threads); row < share(count, thread + 1, threads); row++) {
        const int64_t *taken = rows->ids + ((int64_t)row * rows->positions_count + position) * model->size;
        Pixel pixel = pixel_of(model, rows, row);
        if (!begun && !begin_pixel(model, rows, row, position, space->inner + row * space->inner_wide))
            space->failed = NOT_FINITE;
        for (int channel = begun && place ? place - 1 : 0; channel < place; channel++) take_channel(&pixel, taken, channel);
        rows->drawn[(int64_t)step * count + row] = draw_channel(&pixel, taken, place, rows->uniforms[(int64_t)step * count + row]);
    }
}

static void run(void *argument, int thread) {
    Space *space = argument;
    const Model *model = space->model;
    const Rows *rows = space->rows;
    int size = model->size, first = (rows->length + size - 1) / size, begun = 0;
    for (int step = 0; step < rows->steps; step++) {
        int length = rows->length + step, position = length / size, place = length % size;
        if (place == 0) column(space, position, first, thread), begun = 0;
        if (model->head == MIXTURE && rows->uniforms) mixture_head(space, position, place, begun, step, thread), begun = 1;
        else if (model->head == TIED || model->head == PATCH) categorical_head(space, position, place, thread);
        if (!rows->uniforms) return; /* one step */
        int count = rows->rows, vocabulary = model->vocabulary;
        for (int row = share(count, thread, space->threads); row < share(count, thread + 1, space->threads); row++) {
            int64_t *drawn = rows->drawn + (int64_t)step * count + row;
            if (model->head != MIXTURE) {
                int32_t *heap = (int32_t *)(rows->weights + (int64_t)(2 * thread + 1) * vocabulary);
                int failed = draw_token(
                    model, rows, row, rows->uniforms[(int64_t)step * count + row],
                    rows->weights + (int64_t)2 * thread * vocabulary, heap, drawn
                );
                if (failed) space->failed = failed;
            }
            if (step + 1 < rows->steps) rows->ids[((int64_t)row * rows->positions_count + position) * size + place] = *drawn;
        }
        meet(space->threads);
        if (space->failed) return; /* all threads see it: it is written before they meet */
    }
}

/* Take `steps` steps from `length` ids on. Without uniform numbers it is one, which ends with log-probabilities or, of a
 * head that is computed elsewhere, with the hidden vector. Ids that are drawn join the history, but the last. */
int triptych_run(const Model *model, Rows *rows) {
    Space space = {.model = model, .rows = rows, .threads = rows->threads};
    int64_t count = rows->rows;
    space.wide = filled_up(model->width);
    space.three_wide = filled_up(3 * (int64_t)model->width);
    space.inner_wide = filled_up(model->inner_width);
    space.words_wide = filled_up(model->vocabulary);
    space.query_wide = 2 * (int64_t)model->padded;
    space.scores_wide = filled_up(rows->most_keys > rows->source_positions ? rows->most_keys : rows->source_positions);
    space.x = rows->work;
    space.read = space.x + count * space.wide;
    space.mixed = space.read + count * space.wide;
    space.three = space.mixed + count * space.wide;
    space.inner = space.three + count * space.three_wide;
    space.query = space.inner + count * space.inner_wide;
    space.scores = space.query + rows->threads * space.query_wide;
    space.counts = rows->counts;
    in_threads(run, &space, &space.threads);
    return space.failed;
}

/* The `count` largest of scores [groups][beams][V], rows `stride` apart, + offsets [groups][beams], best first, of equals the lower beam, then
 * the lower id: values, beams and ids [groups][count]. Returns -1, or a group in which a beam that is not off has NaN. */
int64_t triptych_largest(
    const float *scores, const double *offsets, int64_t groups, int64_t beams, int64_t vocabulary, int64_t stride,
    int64_t count, double *values, int64_t *beam_of, int64_t *ids
) {
    for (int64_t group = 0; group < groups; group++, values += count, beam_of += count, ids += count) {
        int64_t held = 0;
        for (int64_t beam = 0; beam < beams; beam++) {
            double offset = offsets[group * beams + beam];
            const float *row = scores + (group * beams + beam) * stride;
            if (offset == -INFINITY && held == count) continue;
            for (int64_t first = 0; first < vocabulary; first += BLOCK) {
                int64_t last = first + BLOCK < vocabulary ? first + BLOCK : vocabulary;
                if (held == count && last == first + BLOCK) { /* most blocks hold nothing that is large enough */
                    float least = (float)(values[count - 1] - offset);
                    least -= fabsf(least) * 1e-6f; /* rounded down: what is close is compared exactly below */
                    vector top = all(-INFINITY), sum = all(0);
                    for (int64_t id = first; id < last; id += LANES) {
                        top = larger(top, load(row + id)); /* NaN is not */
                        sum += load(row + id);
                    }
                    if (highest(top) < least && !isnan(total(sum))) continue;
                }
                for (int64_t id = first; id < last; id++) {
                    double value = (double)row[id] + offset;
                    if (isnan(row[id])) {
                        if (offset > -INFINITY) return group;
                        value = -INFINITY;
                    }
                    if (held == count && !(value > values[count - 1])) continue;
                    int64_t place = held < count ? held++ : count - 1;
                    for (; place > 0 && values[place - 1] < value; place--) {
                        values[place] = values[place - 1];
                        beam_of[place] = beam_of[place - 1];
                        ids[place] = ids[place - 1];
                    }
                    values[place] = value, beam_of[place] = beam, ids[place] = id;
                }
            }
        }
    }
    return -1;
}

/* The revision of these functions and sizes of the structs, by which Python checks its own. */
void triptych_sizes(int64_t sizes[9]) {
    int64_t found[9] = {
        2, sizeof(Linear), sizeof(Norm), sizeof(Network), sizeof(Relation), sizeof(Layer), sizeof(Table), sizeof(Model), sizeof(Rows)
    };
    memcpy(sizes, found, sizeof(found));
}
