// An axial-shift block (networks/compiled_training.py) and its gradients, for any C++17 compiler
// with vector extensions (GCC, Clang).
//
// As in block.cpp, a thread takes CHUNK tokens through all layers. The forward pass keeps only the
// block's tokens and what is shifted; the backward pass computes the rest again, a chunk at a time,
// in two steps: from the block's gradient back to the shift, and, a few planes behind, from the
// shift back to the tokens. Each thread sums its own gradients of weights.
#include "layer.h"
#include "planes.h"

namespace {

template <class Number>
struct Block {
    Extent extent;
    float eps;
    int threads;
    const float *gain, *offset;
    Layer<Number> in, branches[3], out, widen, narrow;

    Block(int64_t channels, int64_t shift_size, float eps, int threads, const int64_t* shape,
          const float* p, bool both)
        : extent(channels, shape, shift_size), eps(eps), threads(threads), gain(p),
          offset((p += channels, p)), in((p += channels, p), channels, channels, both),
          branches{{p, channels, channels, both},
                   {p, channels, channels, both},
                   {p, channels, channels, both}},
          out(p, channels, channels, both), widen(p, 4 * channels, channels, both),
          narrow(p, channels, 4 * channels, both) {}
};

// What a thread works in
template <class Number>
struct Buffers {
    using Operand = typename Maths<Number>::Operand;
    std::vector<float> x, y, total, normal, slopes, wide, wide_slope, wide_gradient, gradient;
    std::vector<Row<Number>> shifted;
    Rounded<Row<Number>> rows, normal_rows, wide_rows, gradient_rows;
    std::vector<Operand> operands;
    std::vector<uint32_t> turned;
    Sum gain, in, branches[3], out, widen, narrow;
    float scale[CHUNK], inner_scale[CHUNK];

    explicit Buffers(int64_t c)
        : x(floats(c)), y(floats(c)), total(floats(c)), normal(floats(c)), slopes(floats(3 * c)),
          wide(floats(4 * c)), wide_slope(floats(4 * c)), wide_gradient(floats(4 * c)),
          gradient(floats(c)), shifted(floats(3 * c)), operands(floats(4 * c)), turned(floats(c)),
          gain(c, 1), in(c, c), branches{{c, c}, {c, c}, {c, c}}, out(c, c), widen(4 * c, c),
          narrow(c, 4 * c) {}

    static int64_t floats(int64_t channels) { return (padded(channels) + SIDE) * CHUNK; }
};

template <class Number>
class Run {
   public:
    using Operand = typename Maths<Number>::Operand;
    using R = Row<Number>;
    using B = Buffers<Number>;

    Run(const Block<Number>& block, const Number* tokens, Number* hidden)
        : b_(block), e_(block.extent), c_(e_.channels), tokens_(tokens),
          hidden_(e_, hidden, e_.x) {}

    void forward(Number* out, std::vector<B>& buffers) {
        e_.planes(
            e_.after, b_.threads,
            [&](int64_t n, int count, int thread) {
                B& u = buffers[thread];
                hide(n, count, u);
                gelu<Number>(u.y.data(), c_ * CHUNK);
                hidden_.put(u.y.data(), 0, c_, n, count);
            },
            [&](int64_t n, int count, int thread) {
                B& u = buffers[thread];
                mix<false>(n, count, u);
                b_.widen.forward(u.wide.data(), packed(u, u.normal_rows, c_));
                gelu<Number>(u.wide.data(), 4 * c_ * CHUNK);
                u.wide_rows.take(u.wide, 4 * c_);
                b_.narrow.forward(u.total.data(), packed(u, u.wide_rows, 4 * c_));
                for (int64_t i = 0; i < c_ * CHUNK; ++i) u.y[i] += u.total[i];
                write(out, u.y, n, count);
            });
    }

    // `in` becomes the gradient of the tokens, where `out` is that of the block's result
    void backward(Number* in, const Number* out, std::vector<B>& buffers) {
        std::vector<Number> ring(Bordered<Number>::size(e_, 3 * c_, e_.few()));
        const Bordered<Number> moved(e_, ring.data(), e_.few());
        e_.planes(
            e_.before, b_.threads,
            [&](int64_t n, int count, int thread) {
                B& u = buffers[thread];
                mix<true>(n, count, u);
                back_mlp(out, n, count, u);
                write(in, u.gradient, n, count);
                back_mixer(moved, n, count, u);
            },
            [&](int64_t n, int count, int thread) {
                back_hidden(in, moved, n, count, buffers[thread]);
            });
    }

   private:
    void read(std::vector<float>& out, const Number* from, int64_t n, int count) {
        for (int64_t c = 0; c < c_; ++c) {
            const Number* at = from + c * e_.tokens() + n;
            load(&out[c * CHUNK], at, count);
            ask_ahead(at);
            for (int t = count; t < CHUNK; ++t) out[c * CHUNK + t] = 0;
        }
    }

    void write(Number* out, const std::vector<float>& from, int64_t n, int count) {
        for (int64_t c = 0; c < c_; ++c) store(out + c * e_.tokens() + n, &from[c * CHUNK], count);
    }

    const Operand* packed(B& u, const Rounded<R>& rows, int64_t channels) {
        return operands(u.operands.data(), rows.data(), channels);
    }

    // x = tokens, normal_rows = norm of them, y = what goes into GELU and then the shift;
    // scale, inner_scale of the two norms, normal and total what came out of them
    void hide(int64_t n, int count, B& u) {
        read(u.x, tokens_, n, count);
        normalise(u.normal.data(), u.x.data(), c_, b_.eps, false, u.scale);
        u.normal_rows.take(u.normal, c_);
        b_.in.forward(u.y.data(), packed(u, u.normal_rows, c_));
        normalise(u.total.data(), u.y.data(), c_, b_.eps, true, u.inner_scale);
        for (int64_t c = 0; c < c_; ++c)
            for (int t = 0; t < CHUNK; ++t)
                u.y[c * CHUNK + t] = u.total[c * CHUNK + t] * b_.gain[c] + b_.offset[c];
    }

    void gather(R* out, int64_t n, int count, int axis) {
        e_.rows(n, count, [&](int t, int length, int64_t x, int64_t at) {
            for (int64_t c = 0; c < c_; ++c) {
                int64_t moved = e_.moved(c);
                const Number* from = hidden_.plane(c, axis == 0 ? x - moved : x) + at;
                copy(out + c * CHUNK + t, from - moved * e_.stride(axis), length);
            }
        });
    }

    // y = tokens and what the shifts add, total = norm of the branches' sum (scale), rows of it,
    // normal = norm of y (inner_scale), normal_rows of it
    template <bool SLOPES>
    void mix(int64_t n, int count, B& u) {
        for (int axis = 0; axis < 3; ++axis) {
            R* shifted = u.shifted.data() + axis * c_ * CHUNK;
            float* slope = u.slopes.data() + axis * c_ * CHUNK;
            gather(shifted, n, count, axis);
            float* out = axis ? u.y.data() : u.total.data();
            b_.branches[axis].forward(out, operands(u.operands.data(), shifted, c_));
            if constexpr (SLOPES)
                gelu_slope<Number>(out, slope, c_ * CHUNK);
            else
                gelu<Number>(out, c_ * CHUNK);
            if (axis)
                for (int64_t i = 0; i < c_ * CHUNK; ++i) u.total[i] += u.y[i];
        }
        normalise(u.total.data(), u.total.data(), c_, b_.eps, false, u.scale);
        u.rows.take(u.total, c_);
        b_.out.forward(u.y.data(), packed(u, u.rows, c_));
        read(u.x, tokens_, n, count);
        for (int64_t i = 0; i < c_ * CHUNK; ++i) u.y[i] += u.x[i];
        normalise(u.normal.data(), u.y.data(), c_, b_.eps, false, u.inner_scale);
        u.normal_rows.take(u.normal, c_);
    }

    // gradient = that of y, from that of the block
    void back_mlp(const Number* out, int64_t n, int count, B& u) {
        b_.widen.forward(u.wide.data(), packed(u, u.normal_rows, c_));
        gelu_slope<Number>(u.wide.data(), u.wide_slope.data(), 4 * c_ * CHUNK);
        u.wide_rows.take(u.wide, 4 * c_);
        read(u.gradient, out, n, count);
        u.gradient_rows.take(u.gradient, c_);
        u.narrow.learn(u.turned, u.gradient_rows.data(), u.wide_rows.data());
        add_tokens(u.narrow.bias.data(), u.gradient.data(), c_);
        float* wide = u.wide_gradient.data();
        b_.narrow.backward(wide, packed(u, u.gradient_rows, c_));
        for (int64_t i = 0; i < 4 * c_ * CHUNK; ++i) wide[i] *= u.wide_slope[i];
        add_tokens(u.widen.bias.data(), wide, 4 * c_);
        u.wide_rows.take(u.wide_gradient, 4 * c_);
        u.widen.learn(u.turned, u.wide_rows.data(), u.normal_rows.data());
        b_.widen.backward(u.x.data(), packed(u, u.wide_rows, 4 * c_));
        unnormalise(u.x.data(), u.normal.data(), u.inner_scale, c_, false);
        for (int64_t i = 0; i < c_ * CHUNK; ++i) u.gradient[i] += u.x[i];
    }

    // From the gradient of y to that of what was shifted, for each branch
    void back_mixer(const Bordered<Number>& moved, int64_t n, int count, B& u) {
        u.gradient_rows.take(u.gradient, c_);
        u.out.learn(u.turned, u.gradient_rows.data(), u.rows.data());
        add_tokens(u.out.bias.data(), u.gradient.data(), c_);
        b_.out.backward(u.x.data(), packed(u, u.gradient_rows, c_));
        unnormalise(u.x.data(), u.total.data(), u.scale, c_, false);
        for (int axis = 0; axis < 3; ++axis) {
            const float* slope = u.slopes.data() + axis * c_ * CHUNK;
            for (int64_t i = 0; i < c_ * CHUNK; ++i) u.y[i] = u.x[i] * slope[i];
            u.gradient_rows.take(u.y, c_);
            Sum& sum = u.branches[axis];
            sum.learn(u.turned, u.gradient_rows.data(), u.shifted.data() + axis * c_ * CHUNK);
            add_tokens(sum.bias.data(), u.y.data(), c_);
            b_.branches[axis].backward(u.gradient.data(), packed(u, u.gradient_rows, c_));
            moved.put(u.gradient.data(), axis * c_, c_, n, count);
        }
    }

    // y = the gradient of what was hidden: that of the branches, moved back
    void gather_back(const Bordered<Number>& moved, int64_t n, int count, B& u) {
        for (int64_t c = 0; c < c_; ++c)
            for (int t = count; t < CHUNK; ++t) u.y[c * CHUNK + t] = 0;
        e_.rows(n, count, [&](int t, int length, int64_t x, int64_t at) {
            for (int64_t c = 0; c < c_; ++c) {
                const int64_t by = e_.moved(c);
                float* sum = &u.y[c * CHUNK + t];
                load(sum, moved.plane(c, x + by) + at, length);
                add(sum, moved.plane(c_ + c, x) + at + by * e_.stride(1), length);
                add(sum, moved.plane(2 * c_ + c, x) + at + by * e_.stride(2), length);
            }
        });
    }

    // Add to the gradient `in` of the tokens what comes through the shift
    void back_hidden(Number* in, const Bordered<Number>& moved, int64_t n, int count, B& u) {
        hide(n, count, u);
        gelu_slope<Number, false>(u.y.data(), u.slopes.data(), c_ * CHUNK);
        gather_back(moved, n, count, u);
        for (int64_t i = 0; i < c_ * CHUNK; ++i) {
            u.y[i] *= u.slopes[i];
            u.gradient[i] = u.y[i] * u.total[i];
        }
        add_tokens(u.gain.weight.data(), u.gradient.data(), c_);
        add_tokens(u.gain.bias.data(), u.y.data(), c_);
        for (int64_t c = 0; c < c_; ++c)
            for (int t = 0; t < CHUNK; ++t) u.y[c * CHUNK + t] *= b_.gain[c];
        unnormalise(u.y.data(), u.total.data(), u.inner_scale, c_, true);
        u.gradient_rows.take(u.y, c_);
        u.in.learn(u.turned, u.gradient_rows.data(), u.normal_rows.data());
        add_tokens(u.in.bias.data(), u.y.data(), c_);
        b_.in.backward(u.x.data(), packed(u, u.gradient_rows, c_));
        unnormalise(u.x.data(), u.normal.data(), u.scale, c_, false);
        read(u.gradient, in, n, count);
        for (int64_t i = 0; i < c_ * CHUNK; ++i) u.gradient[i] += u.x[i];
        write(in, u.gradient, n, count);
    }

    const Block<Number>& b_;
    const Extent& e_;
    const int64_t c_;
    const Number* tokens_;
    const Bordered<Number> hidden_;
};

struct Call {
    int64_t batch, channels, shift_size, threads;
    int64_t shape[3];
    float eps;
    const float* parameters;  // gain, offset, then weight and bias of each layer
};

template <class Number>
struct Pass {
    Block<Number> block;
    std::vector<Buffers<Number>> buffers;
    int64_t batch, tokens, hidden;

    Pass(const Call& call, bool both)
        : block(call.channels, call.shift_size, call.eps, int(call.threads), call.shape,
                call.parameters, both),
          buffers(call.threads, Buffers<Number>(call.channels)), batch(call.batch),
          tokens(call.channels * block.extent.tokens()),
          hidden(Bordered<Number>::size(block.extent, call.channels, block.extent.x)) {}

    void forward(Number* out, Number* kept, const Number* in) {
        for (int64_t b = 0; b < batch; ++b)
            Run<Number>(block, in + b * tokens, kept + b * hidden)
                .forward(out + b * tokens, buffers);
    }

    void backward(Number* in_gradient, float* parameters, const Number* out_gradient,
                  Number* kept, const Number* in) {
        for (int64_t b = 0; b < batch; ++b)
            Run<Number>(block, in + b * tokens, kept + b * hidden)
                .backward(in_gradient + b * tokens, out_gradient + b * tokens, buffers);
        const int64_t channels = block.extent.channels;
        for (const Buffers<Number>& u : buffers) {  // in one order
            float* at = parameters;
            for (int64_t i = 0; i < channels * LANES; ++i) at[i / LANES] += u.gain.weight[i];
            at += channels;
            for (int64_t i = 0; i < channels * LANES; ++i) at[i / LANES] += u.gain.bias[i];
            at += channels;
            u.in.add_to(at);
            for (const Sum& sum : u.branches) sum.add_to(at);
            for (const Sum* sum : {&u.out, &u.widen, &u.narrow}) sum->add_to(at);
        }
    }
};

}  // namespace

extern "C" int64_t kept_size(const Call* call) {
    const Extent extent(call->channels, call->shape, call->shift_size);
    return call->batch * Bordered<float>::size(extent, call->channels, extent.x);
}
extern "C" void forward_float32(const Call* call, float* out, float* kept, const float* in) {
    Pass<float>(*call, false).forward(out, kept, in);
}
extern "C" void forward_bfloat16(const Call* call, half* out, half* kept, const half* in) {
    Pass<half>(*call, false).forward(out, kept, in);
}
extern "C" void backward_float32(const Call* call, float* in_gradient, float* parameters,
                                 const float* out_gradient, float* kept, const float* in) {
    Pass<float>(*call, true).backward(in_gradient, parameters, out_gradient, kept, in);
}
extern "C" void backward_bfloat16(const Call* call, half* in_gradient, float* parameters,
                                  const half* out_gradient, half* kept, const half* in) {
    Pass<half>(*call, true).backward(in_gradient, parameters, out_gradient, kept, in);
}
