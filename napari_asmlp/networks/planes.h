// Where the tokens of a block lie, and how chunks of them are taken.
#pragma once
#include "chunks.h"

namespace {

// The tokens of a volume, and how far a shift moves them. Channel c moves by c / group - after.
struct Extent {
    int64_t channels, x, y, z;
    int64_t group, after, before, reach;
    int64_t step;          // planes to work on at a time
    int64_t width, plane;  // of a plane with a border that shifts may read from
    std::vector<int64_t> moves;  // of each channel: a division for each row would show

    Extent(int64_t channels, const int64_t* shape, int64_t shift_size)
        : channels(channels), x(shape[0]), y(shape[1]), z(shape[2]) {
        group = (channels + shift_size - 1) / shift_size;
        after = shift_size / 2;
        before = shift_size - 1 - after;
        reach = std::max(after, before);
        step = std::min<int64_t>(x, 1 + 1024 / (y * z));
        width = z + 2 * reach;
        plane = (y + 2 * reach) * width;
        for (int64_t c = 0; c < channels; ++c) moves.push_back(c / group - after);
    }

    int64_t tokens() const { return x * y * z; }
    int64_t moved(int64_t channel) const { return moves[channel]; }
    int64_t stride(int axis) const { return axis == 1 ? width : axis == 2 ? 1 : 0; }
    int64_t few() const { return step + after + before; }  // planes that a ring must hold

    // Call f(t, count, x, place in a plane with a border) for each row's part of a chunk
    template <class F>
    void rows(int64_t n, int count, F f) const {
        for (int t = 0; t < count;) {
            int64_t row = (n + t) / z, at = (n + t) % z;
            int length = int(std::min<int64_t>(count - t, z - at));
            f(t, length, row / y, (row % y + reach) * width + at + reach);
            t += length;
        }
    }

    // Call work(n, count, thread) for the chunks of some planes
    template <class F>
    void chunks(int64_t first, int64_t end, int threads, F work) const {
        const int64_t from = first * y * z, to = end * y * z;
#pragma omp parallel num_threads(threads)
        {
            const Tiles tiles;
#pragma omp for schedule(static)
            for (int64_t n = from; n < to; n += CHUNK)
                work(n, int(std::min<int64_t>(CHUNK, to - n)), thread_number());
        }
    }

    // Take a few planes at a time; `lead` works `ahead` planes before `follow`
    template <class Lead, class Follow>
    void planes(int64_t ahead, int threads, Lead lead, Follow follow) const {
        for (int64_t first = 0, known = 0; first < x; first += step) {
            int64_t end = std::min(first + step, x), next = std::min(end + ahead, x);
            chunks(known, next, threads, lead);
            chunks(first, end, threads, follow);
            known = next;
        }
    }
};

// Planes with a border of zeros, so that a shift needs no case for the border: all of a volume, or
// a ring of a few. One more slot stays 0, and stands for planes outside.
template <class Number>
class Bordered {
   public:
    Bordered(const Extent& extent, Number* at, int64_t slots)
        : extent_(extent), at_(at), stride_((slots + 1) * extent.plane) {
        for (int64_t x = -extent.reach; x < extent.x + extent.reach; ++x) {
            bool outside = x < 0 || x >= extent.x;
            places_.push_back((outside ? slots : x % slots) * extent.plane);
        }
    }

    static int64_t size(const Extent& extent, int64_t channels, int64_t slots) {
        return channels * (slots + 1) * extent.plane;
    }

    Number* plane(int64_t channel, int64_t x) const {
        return at_ + channel * stride_ + places_[x + extent_.reach];
    }

    void put(const float* from, int64_t first, int64_t channels, int64_t n, int count) const {
        extent_.rows(n, count, [&](int t, int length, int64_t x, int64_t place) {
            for (int64_t c = 0; c < channels; ++c)
                store(plane(first + c, x) + place, from + c * CHUNK + t, length);
        });
    }

   private:
    const Extent& extent_;
    Number* at_;
    int64_t stride_;
    std::vector<int64_t> places_;  // of planes -reach to x + reach
};

}  // namespace
