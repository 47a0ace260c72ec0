// Products of bfloat16 by the processor's matrix unit (Intel's AMX), where there is one and the
// system lets us; elsewhere has_tiles() is false, and the vector unit does it.
#pragma once
#include <cstdint>
#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)
#define TILES
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

constexpr int CHUNK = 64;  // tokens that are taken through all layers at a time
constexpr int SIDE = 16;   // tokens, outputs and inputs of a product of the matrix unit

constexpr int64_t padded(int64_t channels) { return (channels + SIDE - 1) / SIDE * SIDE; }

// Whether this process may use the matrix unit: Linux wants to be asked (ARCH_REQ_XCOMP_PERM)
bool has_tiles() {
#if defined(TILES)
    static const bool granted = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
    return granted;
#else
    return false;
#endif
}

// The matrix unit of this thread, set up for as long as this lives: tiles 0 to 3 are sums of
// SIDE x SIDE, 4 has SIDE rows of pairs, 5 the pairs of SIDE columns
struct Tiles {
#if defined(TILES)
    Tiles() {
        if (!has_tiles()) return;
        struct alignas(64) {
            uint8_t palette = 1, start = 0, reserved[14] = {};
            uint16_t bytes[16] = {64, 64, 64, 64, 2 * SIDE, 64};
            uint8_t rows[16] = {SIDE, SIDE, SIDE, SIDE, SIDE, SIDE / 2};
        } shapes;
        _tile_loadconfig(&shapes);
    }
    ~Tiles() {
        if (has_tiles()) _tile_release();
    }
#else
    Tiles() {}  // not trivial: or it would be an unused variable
#endif
};

#if defined(TILES)
// Pairs of channels (padded K / 2, CHUNK) times a weight (padded M, padded K), plus biases (M,)
void tile_product(float* out, const uint32_t* in, const uint32_t* weight,
                  const float* biases, int64_t outputs, int64_t inputs) {
    const int64_t pairs = padded(inputs) / 2;
    static_assert(CHUNK == 4 * SIDE, "a row of tiles is a chunk");
    for (int64_t m = 0; m < outputs; m += SIDE, weight += SIDE * pairs) {
        alignas(64) float bias[SIDE][SIDE];
        for (int i = 0; i < SIDE; ++i)
            _mm512_store_ps(bias[i], _mm512_set1_ps(biases[m + i]));
        _tile_loadd(0, bias, 64);
        _tile_loadd(1, bias, 64);
        _tile_loadd(2, bias, 64);
        _tile_loadd(3, bias, 64);
        for (int64_t k = 0; k < pairs; k += SIDE / 2) {
            const uint32_t* column = in + k * CHUNK;
            _tile_loadd(4, weight + k, 4 * pairs);
            _tile_loadd(5, column, 4 * CHUNK);
            _tile_dpbf16ps(0, 4, 5);
            _tile_loadd(5, column + SIDE, 4 * CHUNK);
            _tile_dpbf16ps(1, 4, 5);
            _tile_loadd(5, column + 2 * SIDE, 4 * CHUNK);
            _tile_dpbf16ps(2, 4, 5);
            _tile_loadd(5, column + 3 * SIDE, 4 * CHUNK);
            _tile_dpbf16ps(3, 4, 5);
        }
        float* row = out + m * CHUNK;
        _tile_stored(0, row, 4 * CHUNK);
        _tile_stored(1, row + SIDE, 4 * CHUNK);
        _tile_stored(2, row + 2 * SIDE, 4 * CHUNK);
        _tile_stored(3, row + 3 * SIDE, 4 * CHUNK);
    }
}

// sums (padded M, width) += rows (M, CHUNK) times what was turned (CHUNK / 2 pairs, width)
void tile_outer(float* sums, const uint16_t* rows, const uint32_t* turned, int64_t outputs,
                int64_t width) {
    for (int64_t m = 0; m < outputs; m += SIDE)
        for (int64_t k = 0; k < width; k += SIDE) {
            float* at = sums + m * width + k;
            _tile_loadd(0, at, 4 * width);
            for (int t = 0; t < CHUNK; t += SIDE) {
                _tile_loadd(4, rows + m * CHUNK + t, 2 * CHUNK);
                _tile_loadd(5, turned + t / 2 * width + k, 4 * width);
                _tile_dpbf16ps(0, 4, 5);
            }
            _tile_stored(0, at, 4 * width);
        }
}
#endif

}  // namespace
