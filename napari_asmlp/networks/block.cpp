// An axial-shift block (networks/tiles.py) as one pass over the tokens, for any C++17 compiler with
// vector extensions (GCC, Clang).
//
// A thread takes CHUNK tokens at a time through all layers; what lies between them stays in its
// first cache. Moving channels costs nothing: a chunk is gathered from where its channels come
// from. Tokens are (C, X, Y, Z), in place; hidden tokens live in a ring of planes (planes.h).
// Arithmetic is float32, but for products of bfloat16, whose operands are then pairs of channels in
// 32 bits, the even one low.
#include <new>

#include "planes.h"

namespace {

struct Block {
    int64_t channels, shift_size;
    int64_t whole;               // whether norms look at all tokens, or at one each
    float eps;                   // of all norms
    const float *gain, *offset;  // of the norm before the shift
    Linear in, branches[3], out, widen, narrow;
};

template <class Number>
class Run {
   public:
    using Operand = typename Maths<Number>::Operand;

    Run(const Block& block, Number* tokens, const int64_t* shape, int threads)
        : b_(block), e_(b_.channels, shape, b_.shift_size), tokens_(tokens), threads_(threads),
          buffers_(threads, Buffers(padded(b_.channels) + SIDE)),
          ring_(Bordered<Number>::size(e_, b_.channels, e_.few())),
          hidden_(e_, ring_.data(), e_.few()) {}

    void all() {
        if (b_.whole)
            passes();
        else
            planes(&Run::mix);
    }

   private:
    struct Buffers {
        std::vector<float> x, y, total, wide;
        std::vector<Operand> operands, wide_operands;
        Sums seen;  // of what the next norm is of

        explicit Buffers(int64_t channels)
            : x(channels * CHUNK), y(x), total(x), wide(4 * channels * CHUNK),
              operands(channels * CHUNK), wide_operands(4 * channels * CHUNK) {}
    };
    using Work = void (Run::*)(int64_t, int, Buffers&);

    // Hide and work on a few planes after each other; what is hidden stays in the ring meanwhile
    void planes(Work work) {
        for (int64_t first = 0, known = 0; first < e_.x; first += e_.step) {
            int64_t end = std::min(first + e_.step, e_.x), ahead = std::min(end + e_.after, e_.x);
            chunks(known, ahead, &Run::hide);
            chunks(first, end, work);
            known = ahead;
        }
    }

    // A norm over all tokens must have seen them all: a pass over the tokens for each of four
    void passes() {
        total_.resize(b_.channels * e_.tokens());
        const auto measured = [&](Norm& norm, auto pass) {
            seen_ = {};
            pass();
            norm = seen_.norm(double(total_.size()), b_.eps);
        };
        measured(norms_[0], [&] { chunks(0, e_.x, &Run::measure); });
        measured(norms_[1], [&] { chunks(0, e_.x, &Run::foresee); });
        measured(norms_[2], [&] { planes(&Run::keep_branches); });
        measured(norms_[3], [&] { chunks(0, e_.x, &Run::project_kept); });
        chunks(0, e_.x, &Run::mlp_alone);
    }

    void chunks(int64_t first, int64_t end, Work work) {
        const int64_t from = first * e_.y * e_.z, to = end * e_.y * e_.z;
        std::vector<Sums> seen((to - from + CHUNK - 1) / CHUNK);
        e_.chunks(first, end, threads_, [&](int64_t n, int count, int thread) {
            (this->*work)(n, count, buffers_[thread]);
            seen[(n - from) / CHUNK] = buffers_[thread].seen;
        });
        for (const Sums& each : seen) seen_ += each;  // in one order, for any number of threads
    }

    void read(float* out, const Number* from, int64_t n, int count) {
        for (int64_t c = 0; c < b_.channels; ++c)
            load(out + c * CHUNK, from + c * e_.tokens() + n, count);
    }

    void write(Number* out, const float* from, int64_t n, int count) {
        for (int64_t c = 0; c < b_.channels; ++c)
            store(out + c * e_.tokens() + n, from + c * CHUNK, count);
    }

    // Norm number `which` of the block
    void norm(float* out, const float* in, int which) {
        float scale[CHUNK];
        if (!b_.whole) return normalise(out, in, b_.channels, b_.eps, which == 1, scale);
        for (int64_t i = 0; i < b_.channels * CHUNK; ++i)
            out[i] = (in[i] - norms_[which].mean) * norms_[which].scale;
    }

    void measure(int64_t n, int count, Buffers& u) {
        read(u.x.data(), tokens_, n, count);
        u.seen = sums(u.x.data(), b_.channels, count);
    }

    void foresee(int64_t n, int count, Buffers& u) {
        read(u.x.data(), tokens_, n, count);
        norm(u.x.data(), u.x.data(), 0);
        pack(u.operands.data(), u.x.data(), b_.channels);
        product(u.y.data(), u.operands.data(), b_.in);
        u.seen = sums(u.y.data(), b_.channels, count);
    }

    void activate(float* values, int64_t channels) { gelu<Number>(values, channels * CHUNK); }

    void hide(int64_t n, int count, Buffers& u) {
        foresee(n, count, u);
        u.seen = {};
        norm(u.y.data(), u.y.data(), 1);
        for (int64_t c = 0; c < b_.channels; ++c)
            for (int t = 0; t < CHUNK; ++t)
                u.y[c * CHUNK + t] = u.y[c * CHUNK + t] * b_.gain[c] + b_.offset[c];
        activate(u.y.data(), b_.channels);
        hidden_.put(u.y.data(), 0, b_.channels, n, count);
    }

    void gather(Operand* out, int64_t n, int count, int axis) {
        e_.rows(n, count, [&](int t, int length, int64_t x, int64_t at) {
            for (int64_t c = 0; c < b_.channels; ++c) {
                int64_t moved = e_.moved(c);
                const Number* from = hidden_.plane(c, axis == 0 ? x - moved : x) + at;
                place(out + t, c, from - moved * e_.stride(axis), length);
            }
        });
    }

    void mix(int64_t n, int count, Buffers& u) {
        branches(n, count, u);
        read(u.x.data(), tokens_, n, count);
        project(u);
        mlp(u);
        write(tokens_, u.x.data(), n, count);
    }

    void keep_branches(int64_t n, int count, Buffers& u) {
        branches(n, count, u);
        u.seen = sums(u.total.data(), b_.channels, count);
        write(total_.data(), u.total.data(), n, count);
    }

    void project_kept(int64_t n, int count, Buffers& u) {
        read(u.total.data(), total_.data(), n, count);
        read(u.x.data(), tokens_, n, count);
        project(u);
        u.seen = sums(u.x.data(), b_.channels, count);
        write(tokens_, u.x.data(), n, count);
    }

    void mlp_alone(int64_t n, int count, Buffers& u) {
        read(u.x.data(), tokens_, n, count);
        mlp(u);
        write(tokens_, u.x.data(), n, count);
    }

    void branches(int64_t n, int count, Buffers& u) {
        for (int axis = 0; axis < 3; ++axis) {
            float* out = axis ? u.y.data() : u.total.data();
            gather(u.operands.data(), n, count, axis);
            product(out, u.operands.data(), b_.branches[axis]);
            activate(out, b_.channels);
            if (axis) add(u.total, u.y);
        }
    }

    void project(Buffers& u) {  // x += linear(norm total)
        norm(u.total.data(), u.total.data(), 2);
        pack(u.operands.data(), u.total.data(), b_.channels);
        product(u.y.data(), u.operands.data(), b_.out);
        add(u.x, u.y);
    }

    void mlp(Buffers& u) {  // x += MLP(norm x)
        norm(u.y.data(), u.x.data(), 3);
        pack(u.operands.data(), u.y.data(), b_.channels);
        product(u.wide.data(), u.operands.data(), b_.widen);
        activate(u.wide.data(), b_.widen.outputs);
        pack(u.wide_operands.data(), u.wide.data(), b_.widen.outputs);
        product(u.y.data(), u.wide_operands.data(), b_.narrow);
        add(u.x, u.y);
    }

    void add(std::vector<float>& sum, const std::vector<float>& more) {
        for (int64_t i = 0; i < b_.channels * CHUNK; ++i) sum[i] += more[i];
    }

    const Block b_;
    const Extent e_;
    Number* tokens_;
    const int threads_;
    std::vector<Buffers> buffers_;
    std::vector<Number> ring_, total_;
    const Bordered<Number> hidden_;
    Norm norms_[4];
    Sums seen_;
};

// Whether memory sufficed: an exception must not leave for Python, which it would end
template <typename Number>
int run(const Block* b, Number* tokens, const int64_t* shape, int threads) try {
    Run<Number>(*b, tokens, shape, threads).all();
    return 1;
} catch (const std::bad_alloc&) {
    return 0;
}

}  // namespace

extern "C" int panel_rows() { return ROWS; }
extern "C" int tile_side() { return has_tiles() ? SIDE : 0; }
extern "C" int multiplies_pairs() { return std::is_same<Maths<half>::Operand, uint32_t>::value; }
extern "C" int run_float32(const Block* b, float* tokens, const int64_t* shape, int threads) {
    return run(b, tokens, shape, threads);
}
extern "C" int run_bfloat16(const Block* b, half* tokens, const int64_t* shape, int threads) {
    return run(b, tokens, shape, threads);
}
