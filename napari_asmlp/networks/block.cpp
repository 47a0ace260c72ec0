// An axial-shift block (networks/tiles.py) as one pass over the tokens, for any C++17 compiler with
// vector extensions (GCC, Clang).
//
// A thread takes CHUNK tokens at a time through all layers; what lies between them stays in its
// first cache. Moving channels costs nothing: a chunk is gathered from where its channels come from.
// Tokens are (C, X, Y, Z), in place; hidden tokens live in a ring of planes with a border of zeros,
// so that a shift needs no case for the border. Arithmetic is float32, but for products of bfloat16,
// whose operands are then pairs of channels in 32 bits, the even one low.
#include "chunks.h"

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
        : b_(block), tokens_(tokens), x_(shape[0]), y_(shape[1]), z_(shape[2]), threads_(threads) {
        after_ = b_.shift_size / 2;
        before_ = b_.shift_size - 1 - after_;
        reach_ = std::max(after_, before_);
        step_ = std::min<int64_t>(x_, 1 + 1024 / (y_ * z_));
        slots_ = step_ + after_ + before_;
        width_ = z_ + 2 * reach_;
        plane_ = (y_ + 2 * reach_) * width_;
        ring_.assign(b_.channels * (slots_ + 1) * plane_, 0);  // the last slot stays 0
    }

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
    };
    using Work = void (Run::*)(int64_t, int, Buffers&);

    // Hide and work on a few planes after each other; what is hidden stays in the ring meanwhile
    void planes(Work work) {
        for (int64_t first = 0, known = 0; first < x_; first += step_) {
            int64_t end = std::min(first + step_, x_), ahead = std::min(end + after_, x_);
            chunks(known, ahead, &Run::hide);
            chunks(first, end, work);
            known = ahead;
        }
    }

    // A norm over all tokens must have seen them all: a pass over the tokens for each of four
    void passes() {
        total_.resize(b_.channels * x_ * y_ * z_);
        const auto measured = [&](Norm& norm, auto pass) {
            seen_ = {};
            pass();
            norm = seen_.norm(double(total_.size()), b_.eps);
        };
        measured(norms_[0], [&] { chunks(0, x_, &Run::measure); });
        measured(norms_[1], [&] { chunks(0, x_, &Run::foresee); });
        measured(norms_[2], [&] { planes(&Run::keep_branches); });
        measured(norms_[3], [&] { chunks(0, x_, &Run::project_kept); });
        chunks(0, x_, &Run::mlp_alone);
    }

    void chunks(int64_t first, int64_t end, Work work) {
        const int64_t plane = y_ * z_, from = first * plane, to = end * plane;
        const int64_t padded = b_.channels + ROWS;
        std::vector<Sums> seen((to - from + CHUNK - 1) / CHUNK);
#pragma omp parallel num_threads(threads_)
        {
            Buffers u{std::vector<float>(padded * CHUNK), std::vector<float>(padded * CHUNK),
                      std::vector<float>(padded * CHUNK), std::vector<float>(4 * padded * CHUNK),
                      std::vector<Operand>(padded * CHUNK), std::vector<Operand>(4 * padded * CHUNK),
                      Sums{}};
#pragma omp for schedule(static)
            for (int64_t n = from; n < to; n += CHUNK) {
                (this->*work)(n, int(std::min<int64_t>(CHUNK, to - n)), u);
                seen[(n - from) / CHUNK] = u.seen;
            }
        }
        for (const Sums& each : seen) seen_ += each;  // in one order, for any number of threads
    }

    // Call f(t, count, x, place in a plane of the ring) for each row's part of a chunk
    template <class F>
    void rows(int64_t n, int count, F f) {
        for (int t = 0; t < count;) {
            int64_t row = (n + t) / z_, z = (n + t) % z_;
            int length = int(std::min<int64_t>(count - t, z_ - z));
            f(t, length, row / y_, (row % y_ + reach_) * width_ + z + reach_);
            t += length;
        }
    }

    Number* slot(int64_t channel, int64_t x) {
        int64_t s = x < 0 || x >= x_ ? slots_ : x % slots_;
        return ring_.data() + (channel * (slots_ + 1) + s) * plane_;
    }

    void read(float* out, const Number* from, int64_t n, int count) {
        for (int64_t c = 0; c < b_.channels; ++c)
            load(out + c * CHUNK, from + c * x_ * y_ * z_ + n, count);
    }

    void write(Number* out, const float* from, int64_t n, int count) {
        for (int64_t c = 0; c < b_.channels; ++c)
            store(out + c * x_ * y_ * z_ + n, from + c * CHUNK, count);
    }

    // Norm number `which` of the block
    void norm(float* out, const float* in, int which) {
        if (!b_.whole) return normalise(out, in, b_.channels, b_.eps, which == 1);
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

    void activate(float* values, int64_t channels) { Maths<Number>::gelu_(values, channels * CHUNK); }

    void hide(int64_t n, int count, Buffers& u) {
        foresee(n, count, u);
        u.seen = {};
        norm(u.y.data(), u.y.data(), 1);
        for (int64_t c = 0; c < b_.channels; ++c)
            for (int t = 0; t < CHUNK; ++t)
                u.y[c * CHUNK + t] = u.y[c * CHUNK + t] * b_.gain[c] + b_.offset[c];
        activate(u.y.data(), b_.channels);
        rows(n, count, [&](int t, int length, int64_t x, int64_t at) {
            for (int64_t c = 0; c < b_.channels; ++c)
                store(slot(c, x) + at, u.y.data() + c * CHUNK + t, length);
        });
    }

    void gather(Operand* out, int64_t n, int count, int axis) {
        const int64_t size = (b_.channels + b_.shift_size - 1) / b_.shift_size;
        const int64_t stride = axis == 1 ? width_ : axis == 2 ? 1 : 0;
        rows(n, count, [&](int t, int length, int64_t x, int64_t at) {
            for (int64_t c = 0; c < b_.channels; ++c) {
                int64_t moved = c / size - after_;
                Number* from = slot(c, axis == 0 ? x - moved : x) + at - moved * stride;
                place(out + t, c, from, length);
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
    Number* tokens_;
    int64_t x_, y_, z_, after_, before_, reach_, step_, slots_, width_, plane_;
    int threads_;
    std::vector<Number> ring_, total_;
    Norm norms_[4];
    Sums seen_;
};

}  // namespace

extern "C" int panel_rows() { return ROWS; }
extern "C" int multiplies_pairs() { return std::is_same<Maths<half>::Operand, uint32_t>::value; }
extern "C" void run_float32(const Block* b, float* tokens, const int64_t* shape, int threads) {
    Run<float>(*b, tokens, shape, threads).all();
}
extern "C" void run_bfloat16(const Block* b, half* tokens, const int64_t* shape, int threads) {
    Run<half>(*b, tokens, shape, threads).all();
}
