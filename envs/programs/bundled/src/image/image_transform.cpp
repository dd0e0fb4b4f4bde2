// Image transformations on a small template image class: separable resampling with pluggable
// kernels, exact and interpolated rotation, span flood fill and dithering.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

namespace imaging {

struct Rgb {
    uint8_t r, g, b;
};

inline bool operator==(const Rgb &a, const Rgb &b) {
    return a.r == b.r && a.g == b.g && a.b == b.b;
}

template <typename Px> class Image {
  public:
    Image(int width, int height, Px fill = Px()) : width_(width), height_(height) {
        px_ = new Px[static_cast<size_t>(width * height)];
        for (int i = 0; i < width * height; i++)
            px_[i] = fill;
    }
    Image(Image &&other) noexcept : width_(other.width_), height_(other.height_), px_(other.px_) {
        other.px_ = nullptr;
        other.width_ = other.height_ = 0;
    }
    Image(const Image &) = delete;
    Image &operator=(const Image &) = delete;
    ~Image() { delete[] px_; }

    int width() const { return width_; }
    int height() const { return height_; }
    Px &at(int x, int y) { return px_[y * width_ + x]; }
    const Px &at(int x, int y) const { return px_[y * width_ + x]; }
    const Px &clamped(int x, int y) const {
        x = x < 0 ? 0 : x >= width_ ? width_ - 1 : x;
        y = y < 0 ? 0 : y >= height_ ? height_ - 1 : y;
        return at(x, y);
    }
    bool operator==(const Image &o) const {
        if (width_ != o.width_ || height_ != o.height_)
            return false;
        for (int i = 0; i < width_ * height_; i++)
            if (!(px_[i] == o.px_[i]))
                return false;
        return true;
    }

  private:
    int width_, height_;
    Px *px_;
};

// Lets the filters below treat both pixel types as a short list of channels.
template <typename Px> struct Channels;

template <> struct Channels<uint8_t> {
    static const int count = 1;
    static int get(uint8_t p, int) { return p; }
    static void set(uint8_t &p, int, int v) { p = static_cast<uint8_t>(v); }
};

template <> struct Channels<Rgb> {
    static const int count = 3;
    static int get(const Rgb &p, int c) { return c == 0 ? p.r : c == 1 ? p.g : p.b; }
    static void set(Rgb &p, int c, int v) {
        (c == 0 ? p.r : c == 1 ? p.g : p.b) = static_cast<uint8_t>(v);
    }
};

static int to_byte(int v) {
    return v < 0 ? 0 : v > 255 ? 255 : v;
}

// ---- resampling -------------------------------------------------------------------------------

class Kernel {
  public:
    virtual ~Kernel() {}
    virtual double support() const = 0;
    virtual double weight(double distance) const = 0; // distance >= 0
};

class BoxKernel : public Kernel {
  public:
    double support() const override { return 0.5; }
    double weight(double d) const override { return d < 0.5 + 1e-9 ? 1 : 0; }
};

class TriangleKernel : public Kernel {
  public:
    double support() const override { return 1; }
    double weight(double d) const override { return d < 1 ? 1 - d : 0; }
};

// The Mitchell-Netravali family; (0, 0.5) is Catmull-Rom.
class CubicKernel : public Kernel {
  public:
    CubicKernel(double b, double c) : b_(b), c_(c) {}
    double support() const override { return 2; }
    double weight(double d) const override {
        if (d < 1)
            return ((12 - 9 * b_ - 6 * c_) * d * d * d + (-18 + 12 * b_ + 6 * c_) * d * d + 6 -
                    2 * b_) /
                   6;
        if (d < 2)
            return ((-b_ - 6 * c_) * d * d * d + (6 * b_ + 30 * c_) * d * d +
                    (-12 * b_ - 48 * c_) * d + 8 * b_ + 24 * c_) /
                   6;
        return 0;
    }

  private:
    double b_, c_;
};

// The weights of the source samples for one output sample, in 1/4096; they sum up to one. Ties are
// broken with a margin, so that rounding errors cannot change a weight.
class Taps {
  public:
    static const int kOne = 4096;
    static const int kMax = 32;

    Taps(const Kernel &kernel, int index, int from, int to) {
        double ratio = static_cast<double>(from) / to, stretch = ratio > 1 ? ratio : 1;
        double centre = (index + 0.5) * ratio, radius = kernel.support() * stretch, total = 0;
        double exact[kMax];
        first = static_cast<int>(floor(centre - radius));
        count = static_cast<int>(ceil(centre + radius)) - first;
        if (count > kMax)
            count = kMax;
        for (int i = 0; i < count; i++)
            total += exact[i] = kernel.weight(fabs(first + i + 0.5 - centre) / stretch);
        int sum = 0, largest = 0;
        for (int i = 0; i < count; i++) {
            weight[i] = static_cast<int>(floor(exact[i] / total * kOne + 0.5 + 1e-6));
            sum += weight[i];
            if (weight[i] > weight[largest])
                largest = i;
        }
        weight[largest] += kOne - sum;
    }
    int first, count, weight[kMax];
};

template <typename Px>
static Image<Px> resize_columns(const Image<Px> &src, int width, const Kernel &kernel) {
    typedef Channels<Px> Ch;
    Image<Px> out(width, src.height());
    for (int x = 0; x < width; x++) {
        Taps taps(kernel, x, src.width(), width);
        for (int y = 0; y < src.height(); y++) {
            for (int c = 0; c < Ch::count; c++) {
                int sum = Taps::kOne / 2;
                for (int i = 0; i < taps.count; i++)
                    sum += taps.weight[i] * Ch::get(src.clamped(taps.first + i, y), c);
                Ch::set(out.at(x, y), c, to_byte(sum / Taps::kOne));
            }
        }
    }
    return out;
}

// Builds a width x height image whose pixels come from source(x, y).
template <typename Px, typename Source>
static Image<Px> generate(int width, int height, Source source) {
    Image<Px> out(width, height);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            out.at(x, y) = source(x, y);
    return out;
}

template <typename Px> Image<Px> transpose(const Image<Px> &src) {
    return generate<Px>(src.height(), src.width(), [&](int x, int y) { return src.at(y, x); });
}

template <typename Px> Image<Px> flip_horizontal(const Image<Px> &src) {
    return generate<Px>(src.width(), src.height(),
                        [&](int x, int y) { return src.at(src.width() - 1 - x, y); });
}

template <typename Px> Image<Px> rotate_right(const Image<Px> &src) {
    return flip_horizontal(transpose(src));
}

template <typename Px>
Image<Px> resize(const Image<Px> &src, int width, int height, const Kernel &kernel) {
    Image<Px> wide = transpose(resize_columns(src, width, kernel));
    return transpose(resize_columns(wide, height, kernel));
}

// Rotation about the centre with bilinear sampling; sine and cosine in 1/65536.
template <typename Px>
Image<Px> rotate(const Image<Px> &src, int32_t sine, int32_t cosine, Px outside) {
    typedef Channels<Px> Ch;
    return generate<Px>(src.width(), src.height(), [&](int x, int y) {
        int64_t dx = 2 * x + 1 - src.width(), dy = 2 * y + 1 - src.height(); // in half pixels
        int64_t sx = (dx * cosine + dy * sine + (static_cast<int64_t>(src.width() - 1) << 16)) / 2;
        int64_t sy = (dy * cosine - dx * sine + (static_cast<int64_t>(src.height() - 1) << 16)) / 2;
        if (sx < 0 || sy < 0 || sx >> 16 >= src.width() || sy >> 16 >= src.height())
            return outside;
        int ix = static_cast<int>(sx >> 16), iy = static_cast<int>(sy >> 16);
        int fx = static_cast<int>(sx >> 8 & 255), fy = static_cast<int>(sy >> 8 & 255);
        Px out = outside;
        for (int c = 0; c < Ch::count; c++) {
            int top = Ch::get(src.clamped(ix, iy), c) * (256 - fx) +
                      Ch::get(src.clamped(ix + 1, iy), c) * fx;
            int bottom = Ch::get(src.clamped(ix, iy + 1), c) * (256 - fx) +
                         Ch::get(src.clamped(ix + 1, iy + 1), c) * fx;
            Ch::set(out, c, (top * (256 - fy) + bottom * fy + 32768) >> 16);
        }
        return out;
    });
}

// ---- flood fill -------------------------------------------------------------------------------

// Fills the region around the seed, whole runs at a time; returns its size.
template <typename Px> int flood_fill(Image<Px> &img, int seed_x, int seed_y, Px colour) {
    struct Seed {
        int x, y;
    };
    const Px target = img.at(seed_x, seed_y);
    int capacity = 16, depth = 0, filled = 0;
    if (target == colour)
        return 0;
    Seed *stack = static_cast<Seed *>(malloc(sizeof(Seed) * static_cast<size_t>(capacity)));
    if (!stack)
        abort();
    stack[depth++] = {seed_x, seed_y};
    while (depth > 0) {
        Seed s = stack[--depth];
        if (!(img.at(s.x, s.y) == target))
            continue;
        int left = s.x, right = s.x;
        while (left > 0 && img.at(left - 1, s.y) == target)
            left--;
        while (right + 1 < img.width() && img.at(right + 1, s.y) == target)
            right++;
        for (int x = left; x <= right; x++)
            img.at(x, s.y) = colour;
        filled += right - left + 1;
        for (int y = s.y - 1; y <= s.y + 1; y += 2) {
            if (y < 0 || y >= img.height())
                continue;
            for (int x = left; x <= right; x++) {
                bool run_starts =
                    img.at(x, y) == target && (x == left || !(img.at(x - 1, y) == target));
                if (!run_starts)
                    continue;
                if (depth == capacity) {
                    capacity *= 2;
                    void *grown = realloc(stack, sizeof(Seed) * static_cast<size_t>(capacity));
                    if (!grown)
                        abort();
                    stack = static_cast<Seed *>(grown);
                }
                stack[depth++] = {x, y};
            }
        }
    }
    free(stack);
    return filled;
}

// ---- dithering --------------------------------------------------------------------------------

struct Diffusion {
    const char *name;
    int divisor, count;
    struct {
        int8_t dx, dy, share;
    } targets[6];
};

static const Diffusion kDiffusions[] = {
    {"floyd-steinberg", 16, 4, {{1, 0, 7}, {-1, 1, 3}, {0, 1, 5}, {1, 1, 1}}},
    {"atkinson", 8, 6, {{1, 0, 1}, {2, 0, 1}, {-1, 1, 1}, {0, 1, 1}, {1, 1, 1}, {0, 2, 1}}},
    {"sierra-lite", 4, 3, {{1, 0, 2}, {-1, 1, 1}, {0, 1, 1}}},
};

// Serpentine error diffusion to the given number of grey levels.
Image<uint8_t> diffuse(const Image<uint8_t> &src, const Diffusion &how, int levels) {
    Image<int> work =
        generate<int>(src.width(), src.height(), [&](int x, int y) { return src.at(x, y) * 16; });
    Image<uint8_t> out(src.width(), src.height());
    for (int y = 0; y < src.height(); y++) {
        int step = y & 1 ? -1 : 1;
        for (int i = 0; i < src.width(); i++) {
            int x = step > 0 ? i : src.width() - 1 - i, wanted = work.at(x, y);
            int level = to_byte(wanted / 16) * (levels - 1) * 2 + 255;
            out.at(x, y) = static_cast<uint8_t>(level / 510 * 255 / (levels - 1));
            int error = wanted - out.at(x, y) * 16;
            for (int t = 0; t < how.count; t++) {
                int tx = x + how.targets[t].dx * step, ty = y + how.targets[t].dy;
                if (tx >= 0 && tx < src.width() && ty < src.height())
                    work.at(tx, ty) += error * how.targets[t].share / how.divisor;
            }
        }
    }
    return out;
}

// Ordered dithering; the 8x8 Bayer matrix comes from interleaving the bits of the coordinates.
Image<uint8_t> ordered_dither(const Image<uint8_t> &src) {
    return generate<uint8_t>(src.width(), src.height(), [&](int x, int y) {
        unsigned threshold = 0, mixed = static_cast<unsigned>(x ^ y);
        for (int bit = 0; bit < 3; bit++)
            threshold =
                threshold << 2 | (mixed >> bit & 1) << 1 | (static_cast<unsigned>(y) >> bit & 1);
        return static_cast<uint8_t>(src.at(x, y) > threshold * 4 + 1 ? 255 : 0);
    });
}

template <typename Px> static uint32_t fingerprint(const Image<Px> &img, uint32_t h) {
    for (int y = 0; y < img.height(); y++)
        for (int x = 0; x < img.width(); x++)
            for (int c = 0; c < Channels<Px>::count; c++)
                h = (h << 5 | h >> 27) * 0x01000193u ^
                    static_cast<uint32_t>(Channels<Px>::get(img.at(x, y), c));
    return h;
}

} // namespace imaging

using namespace imaging;

int main() {
    const BoxKernel box;
    const TriangleKernel triangle;
    const CubicKernel catmull_rom(0, 0.5), mitchell(1.0 / 3, 1.0 / 3);
    const Kernel *kernels[] = {&box, &triangle, &catmull_rom, &mitchell};
    uint32_t checksum = 1;

    Image<Rgb> photo = generate<Rgb>(36, 28, [](int x, int y) {
        bool inside = (x - 18) * (x - 18) + (y - 14) * (y - 14) < 90;
        return Rgb{static_cast<uint8_t>(x * 7), static_cast<uint8_t>(inside ? 220 : y * 4),
                   static_cast<uint8_t>((x ^ y) * 5)};
    });
    for (const Kernel *kernel : kernels) {
        Image<Rgb> larger = resize(photo, 53, 31, *kernel);
        Image<Rgb> smaller = resize(larger, 17, 40, *kernel);
        checksum = fingerprint(smaller, fingerprint(larger, checksum));
    }
    bool identity = resize(photo, photo.width(), photo.height(), box) == photo;
    Image<Rgb> once = rotate_right(photo);
    bool full_turn = rotate_right(rotate_right(rotate_right(once))) == photo;
    // a 3-4-5 triangle gives an exact angle
    Image<Rgb> tilted = rotate(photo, 65536 * 3 / 5, 65536 * 4 / 5, Rgb{9, 9, 9});
    checksum = fingerprint(tilted, checksum);
    printf("resize identity %s, four quarter turns %s\n", identity ? "ok" : "bad",
           full_turn ? "ok" : "bad");

    Image<uint8_t> maze = generate<uint8_t>(41, 31, [](int x, int y) {
        bool wall = (x % 6 == 3 && y % 10 != 7) || (y % 5 == 2 && x % 9 != 4);
        return static_cast<uint8_t>(wall ? 255 : 0);
    });
    int regions = 0, largest = 0;
    for (int i = 0; i < maze.width() * maze.height(); i++) {
        int x = i % maze.width(), y = i / maze.width();
        if (maze.at(x, y) != 0)
            continue;
        int size = flood_fill(maze, x, y, static_cast<uint8_t>(1 + regions++ % 250));
        largest = size > largest ? size : largest;
    }
    checksum = fingerprint(maze, checksum);
    printf("flood fill found %d regions, the largest has %d pixels\n", regions, largest);

    Image<uint8_t> ramp =
        generate<uint8_t>(48, 20, [](int x, int y) { return static_cast<uint8_t>(x * 5 + y); });
    for (const Diffusion &how : kDiffusions)
        for (int levels = 2; levels <= 4; levels += 2)
            checksum = fingerprint(diffuse(ramp, how, levels), checksum);
    checksum = fingerprint(ordered_dither(ramp), checksum);
    printf("checksum %08x\n", static_cast<unsigned>(checksum));
    return identity && full_turn ? 0 : 1;
}
