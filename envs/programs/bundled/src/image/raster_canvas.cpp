// Software renderer: antialiased path filling and stroking with paints and blend modes, clipped
// lines, a stroke font, and a z-buffered triangle pipeline with Gouraud shading.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

namespace raster {

// ---- basics -----------------------------------------------------------------------------------

template <typename T> class Array {
  public:
    Array() = default;
    Array(const Array &) = delete;
    Array &operator=(const Array &) = delete;
    ~Array() { delete[] items_; }

    void push(const T &item) {
        if (size_ == capacity_) {
            T copy = item; // item may live in the old storage
            grow();
            items_[size_++] = copy;
            return;
        }
        items_[size_++] = item;
    }
    void clear() { size_ = 0; }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    T &operator[](size_t i) { return items_[i]; }
    const T &operator[](size_t i) const { return items_[i]; }
    const T &back() const { return items_[size_ - 1]; }
    T *begin() { return items_; }
    T *end() { return items_ + size_; }
    const T *begin() const { return items_; }
    const T *end() const { return items_ + size_; }

    template <typename Less> void insertion_sort(Less less) {
        for (size_t i = 1; i < size_; i++) {
            T item = items_[i];
            size_t j = i;
            for (; j > 0 && less(item, items_[j - 1]); j--)
                items_[j] = items_[j - 1];
            items_[j] = item;
        }
    }

  private:
    void grow() {
        capacity_ = capacity_ ? capacity_ * 2 : 16;
        T *grown = new T[capacity_];
        for (size_t i = 0; i < size_; i++)
            grown[i] = items_[i];
        delete[] items_;
        items_ = grown;
    }
    T *items_ = nullptr;
    size_t size_ = 0, capacity_ = 0;
};

template <typename T> static T min(T a, T b) {
    return b < a ? b : a;
}
template <typename T> static T max(T a, T b) {
    return a < b ? b : a;
}
template <typename T> static T clamp(T v, T lo, T hi) {
    return max(lo, min(v, hi));
}
template <typename T> static void swap(T &a, T &b) {
    T t = a;
    a = b;
    b = t;
}

// Polynomial sine in turns: good to about 1e-4 and the same on every machine.
static double sin_turns(double t) {
    t -= floor(t);
    double sign = 1;
    if (t >= 0.5) {
        t -= 0.5;
        sign = -1;
    }
    if (t > 0.25)
        t = 0.5 - t;
    double x = t * 6.283185307179586, x2 = x * x;
    return sign * x * (1 - x2 / 6 * (1 - x2 / 20 * (1 - x2 / 42 * (1 - x2 / 72))));
}

static double cos_turns(double t) {
    return sin_turns(t + 0.25);
}

struct Vec2 {
    double x = 0, y = 0;
};

static Vec2 operator+(Vec2 a, Vec2 b) {
    return {a.x + b.x, a.y + b.y};
}
static Vec2 operator-(Vec2 a, Vec2 b) {
    return {a.x - b.x, a.y - b.y};
}
static Vec2 operator*(Vec2 a, double s) {
    return {a.x * s, a.y * s};
}
static double length(Vec2 v) {
    return sqrt(v.x * v.x + v.y * v.y);
}
static Vec2 midpoint(Vec2 a, Vec2 b) {
    return (a + b) * 0.5;
}

struct Affine {
    double a = 1, b = 0, c = 0, d = 1, tx = 0, ty = 0;

    Vec2 operator()(Vec2 p) const { return {a * p.x + c * p.y + tx, b * p.x + d * p.y + ty}; }
    Affine operator*(const Affine &o) const {
        Affine r;
        r.a = a * o.a + c * o.b;
        r.b = b * o.a + d * o.b;
        r.c = a * o.c + c * o.d;
        r.d = b * o.c + d * o.d;
        r.tx = a * o.tx + c * o.ty + tx;
        r.ty = b * o.tx + d * o.ty + ty;
        return r;
    }
    static Affine translate(double x, double y) {
        Affine r;
        r.tx = x;
        r.ty = y;
        return r;
    }
    static Affine scale(double s) {
        Affine r;
        r.a = r.d = s;
        return r;
    }
    static Affine rotate(double turns) {
        Affine r;
        r.a = r.d = cos_turns(turns);
        r.b = sin_turns(turns);
        r.c = -r.b;
        return r;
    }
};

struct Colour {
    uint8_t r = 0, g = 0, b = 0, a = 255;
};

static uint8_t mul255(unsigned a, unsigned b) {
    unsigned t = a * b + 128;
    return static_cast<uint8_t>((t + (t >> 8)) >> 8);
}

static uint8_t mix255(unsigned from, unsigned to, unsigned t) {
    return static_cast<uint8_t>(mul255(from, 255 - t) + mul255(to, t));
}

static Colour mix(Colour from, Colour to, unsigned t) {
    return {mix255(from.r, to.r, t), mix255(from.g, to.g, t), mix255(from.b, to.b, t),
            mix255(from.a, to.a, t)};
}

enum class Blend { Over, Multiply, Screen, Add, Difference };

static uint8_t blend_over(uint8_t, uint8_t src) {
    return src;
}
static uint8_t blend_multiply(uint8_t dst, uint8_t src) {
    return mul255(dst, src);
}
static uint8_t blend_screen(uint8_t dst, uint8_t src) {
    return static_cast<uint8_t>(255 - mul255(255u - dst, 255u - src));
}
static uint8_t blend_add(uint8_t dst, uint8_t src) {
    return static_cast<uint8_t>(min(255, dst + src));
}
static uint8_t blend_difference(uint8_t dst, uint8_t src) {
    return static_cast<uint8_t>(abs(dst - src));
}

typedef uint8_t (*BlendFunction)(uint8_t dst, uint8_t src);
static const BlendFunction kBlendFunctions[] = {blend_over, blend_multiply, blend_screen, blend_add,
                                                blend_difference};

class Surface {
  public:
    Surface(int width, int height, Colour fill)
        : width_(width), height_(height), px_(new Colour[static_cast<size_t>(width * height)]) {
        for (int i = 0; i < width * height; i++)
            px_[i] = fill;
    }
    ~Surface() { delete[] px_; }
    Surface(const Surface &) = delete;
    Surface &operator=(const Surface &) = delete;

    int width() const { return width_; }
    int height() const { return height_; }
    bool contains(int x, int y) const { return x >= 0 && y >= 0 && x < width_ && y < height_; }
    const Colour &at(int x, int y) const { return px_[y * width_ + x]; }

    void put(int x, int y, Colour src, unsigned coverage, Blend mode) {
        if (!contains(x, y) || coverage == 0)
            return;
        Colour &dst = px_[y * width_ + x];
        BlendFunction f = kBlendFunctions[static_cast<int>(mode)];
        unsigned alpha = mul255(src.a, coverage);
        dst.r = mix255(dst.r, f(dst.r, src.r), alpha);
        dst.g = mix255(dst.g, f(dst.g, src.g), alpha);
        dst.b = mix255(dst.b, f(dst.b, src.b), alpha);
    }
    uint32_t hash() const {
        uint32_t h = 2166136261u;
        for (int i = 0; i < width_ * height_; i++) {
            h = (h ^ px_[i].r) * 16777619u;
            h = (h ^ px_[i].g) * 16777619u;
            h = (h ^ px_[i].b) * 16777619u;
        }
        return h;
    }

  private:
    int width_, height_;
    Colour *px_;
};

// ---- paints -----------------------------------------------------------------------------------

class Paint {
  public:
    virtual ~Paint() {}
    virtual Colour at(double x, double y) const = 0;
};

class SolidPaint : public Paint {
  public:
    explicit SolidPaint(Colour c) : colour_(c) {}
    Colour at(double, double) const override { return colour_; }

  private:
    Colour colour_;
};

class GradientPaint : public Paint {
  public:
    void stop(double offset, Colour c) {
        stops_.push({offset, c});
        stops_.insertion_sort([](const Stop &l, const Stop &r) { return l.offset < r.offset; });
    }
    Colour at(double x, double y) const override {
        double t = parameter(x, y);
        if (t <= stops_[0].offset)
            return stops_[0].colour;
        for (size_t i = 1; i < stops_.size(); i++) {
            if (t < stops_[i].offset) {
                double span = stops_[i].offset - stops_[i - 1].offset;
                unsigned k = static_cast<unsigned>((t - stops_[i - 1].offset) / span * 255 + 0.5);
                return mix(stops_[i - 1].colour, stops_[i].colour, k);
            }
        }
        return stops_.back().colour;
    }

  protected:
    virtual double parameter(double x, double y) const = 0;

  private:
    struct Stop {
        double offset = 0;
        Colour colour;
    };
    Array<Stop> stops_;
};

class LinearGradient : public GradientPaint {
  public:
    LinearGradient(Vec2 from, Vec2 to) : from_(from), axis_(to - from) {}

  protected:
    double parameter(double x, double y) const override {
        double dot = (x - from_.x) * axis_.x + (y - from_.y) * axis_.y;
        return dot / (axis_.x * axis_.x + axis_.y * axis_.y);
    }

  private:
    Vec2 from_, axis_;
};

class RadialGradient : public GradientPaint {
  public:
    RadialGradient(Vec2 centre, double radius) : centre_(centre), radius_(radius) {}

  protected:
    double parameter(double x, double y) const override {
        return length(Vec2{x - centre_.x, y - centre_.y}) / radius_;
    }

  private:
    Vec2 centre_;
    double radius_;
};

class CheckerPaint : public Paint {
  public:
    CheckerPaint(const Paint &even, const Paint &odd, double cell)
        : even_(even), odd_(odd), cell_(cell) {}
    Colour at(double x, double y) const override {
        int parity = static_cast<int>(floor(x / cell_)) + static_cast<int>(floor(y / cell_));
        return parity & 1 ? odd_.at(x, y) : even_.at(x, y);
    }

  private:
    const Paint &even_, &odd_;
    double cell_;
};

// ---- paths ------------------------------------------------------------------------------------

class Path {
  public:
    Path &move_to(Vec2 p) {
        contours_.push({points_.size(), false});
        points_.push(p);
        return *this;
    }
    Path &line_to(Vec2 p) {
        points_.push(p);
        return *this;
    }
    Path &quad_to(Vec2 control, Vec2 p) {
        // the same curve as a cubic
        Vec2 from = points_.back();
        return cubic_to(from + (control - from) * (2.0 / 3), p + (control - p) * (2.0 / 3), p);
    }
    Path &cubic_to(Vec2 c1, Vec2 c2, Vec2 p) {
        Vec2 from = points_.back();
        flatten(from, c1, c2, p, 0);
        points_.push(p);
        return *this;
    }
    Path &close() {
        contours_[contours_.size() - 1].closed = true;
        return *this;
    }
    Path &ellipse(Vec2 centre, double rx, double ry) {
        const double k = 0.5522847498;
        auto at = [&](double x, double y) { return Vec2{centre.x + rx * x, centre.y + ry * y}; };
        move_to(at(1, 0));
        cubic_to(at(1, k), at(k, 1), at(0, 1)).cubic_to(at(-k, 1), at(-1, k), at(-1, 0));
        cubic_to(at(-1, -k), at(-k, -1), at(0, -1)).cubic_to(at(k, -1), at(1, -k), at(1, 0));
        return close();
    }
    Path &star(Vec2 centre, double outer, double inner, int tips) {
        for (int i = 0; i < tips * 2; i++) {
            double turn = i / (tips * 2.0), r = i % 2 ? inner : outer;
            Vec2 p = {centre.x + r * sin_turns(turn), centre.y - r * cos_turns(turn)};
            if (i == 0)
                move_to(p);
            else
                line_to(p);
        }
        return close();
    }
    void transform(const Affine &m) {
        for (Vec2 &p : points_)
            p = m(p);
    }
    // Calls fn(first, count, closed) for each contour.
    template <typename Fn> void each_contour(Fn fn) const {
        for (size_t i = 0; i < contours_.size(); i++) {
            size_t first = contours_[i].first;
            size_t last = i + 1 < contours_.size() ? contours_[i + 1].first : points_.size();
            fn(&points_[first], last - first, contours_[i].closed);
        }
    }
    size_t point_count() const { return points_.size(); }

  private:
    struct Contour {
        size_t first = 0;
        bool closed = false;
    };

    // De Casteljau subdivision until the control points are close to the chord.
    void flatten(Vec2 p0, Vec2 p1, Vec2 p2, Vec2 p3, int depth) {
        Vec2 d1 = p1 * 3.0 - p0 * 2.0 - p3, d2 = p2 * 3.0 - p3 * 2.0 - p0;
        double bend = max(d1.x * d1.x, d2.x * d2.x) + max(d1.y * d1.y, d2.y * d2.y);
        if (bend < 0.25 || depth == 10)
            return;
        Vec2 a = midpoint(p0, p1), m = midpoint(p1, p2), c = midpoint(p2, p3);
        Vec2 am = midpoint(a, m), mc = midpoint(m, c), centre = midpoint(am, mc);
        flatten(p0, a, am, centre, depth + 1);
        points_.push(centre);
        flatten(centre, mc, c, p3, depth + 1);
    }

    Array<Vec2> points_;
    Array<Contour> contours_;
};

enum class Join { Bevel, Miter, Round };

// Builds the outline of a stroke as overlapping pieces for the non-zero rule.
class Stroker {
  public:
    Stroker(Path &out, double width, Join join) : out_(out), half_(width / 2), join_(join) {}

    void stroke(const Path &path) {
        path.each_contour([&](const Vec2 *p, size_t n, bool closed) {
            size_t segments = closed ? n : n - 1;
            for (size_t i = 0; i < segments; i++)
                segment(p[i], p[(i + 1) % n]);
            for (size_t i = closed ? 0 : 1; i < segments; i++)
                corner(p[(i + n - 1) % n], p[i], p[(i + 1) % n]);
        });
    }

  private:
    Vec2 normal(Vec2 a, Vec2 b) const {
        Vec2 d = b - a;
        double len = length(d);
        if (len < 1e-9)
            return {0, 0};
        return Vec2{-d.y / len, d.x / len} * half_;
    }
    // All pieces wind the same way, so that overlaps never cancel.
    void piece(const Vec2 *p, int n) {
        double area = 0;
        for (int i = 0; i < n; i++) {
            const Vec2 &q = p[(i + 1) % n];
            area += p[i].x * q.y - q.x * p[i].y;
        }
        for (int i = 0; i < n; i++) {
            const Vec2 &q = area < 0 ? p[n - 1 - i] : p[i];
            if (i == 0)
                out_.move_to(q);
            else
                out_.line_to(q);
        }
        out_.close();
    }
    void segment(Vec2 a, Vec2 b) {
        Vec2 n = normal(a, b);
        const Vec2 quad[] = {a + n, b + n, b - n, a - n};
        piece(quad, 4);
    }
    void corner(Vec2 before, Vec2 at, Vec2 after) {
        Vec2 n1 = normal(before, at), n2 = normal(at, after);
        double cross = n1.x * n2.y - n1.y * n2.x;
        if (cross > 0) { // the gap is on the other side
            n1 = n1 * -1;
            n2 = n2 * -1;
        }
        if (join_ == Join::Round) {
            out_.ellipse(at, half_, half_);
            return;
        }
        Vec2 points[4] = {at, at + n1, at + n2, at + n2};
        int count = 3;
        Vec2 sum = n1 + n2;
        double square = sum.x * sum.x + sum.y * sum.y;
        if (join_ == Join::Miter && square > half_ * half_ / 4) { // miter limit of four
            points[2] = at + sum * (2 * half_ * half_ / square);
            count = 4;
        }
        piece(points, count);
    }

    Path &out_;
    double half_;
    Join join_;
};

// ---- scan conversion --------------------------------------------------------------------------

enum class FillRule { NonZero, EvenOdd };

class Filler {
  public:
    Filler(Surface &surface, FillRule rule) : surface_(surface), rule_(rule) {
        coverage_ = new int[static_cast<size_t>(surface.width())];
    }
    ~Filler() { delete[] coverage_; }
    Filler(const Filler &) = delete;
    Filler &operator=(const Filler &) = delete;

    void fill(const Path &path, const Paint &paint, Blend mode) {
        edges_.clear();
        path.each_contour([&](const Vec2 *p, size_t n, bool) {
            for (size_t i = 0; i < n; i++) // filling always closes the contour
                add_edge(p[i], p[(i + 1) % n]);
        });
        for (int y = 0; y < surface_.height(); y++)
            if (cover_row(y))
                paint_row(y, paint, mode);
    }

  private:
    static const int kSub = 4;  // sample lines per pixel row
    static const int kOne = 64; // horizontal units per pixel
    static const int kFull = kSub * kOne;

    struct Edge {
        double top = 0, bottom = 0, x = 0, slope = 0;
        int winding = 0;
    };
    struct Crossing {
        int x = 0, winding = 0;
    };

    void add_edge(Vec2 a, Vec2 b) {
        Edge e;
        if (a.y == b.y)
            return;
        e.winding = a.y < b.y ? 1 : -1;
        if (e.winding < 0)
            swap(a, b);
        e.top = a.y;
        e.bottom = b.y;
        e.x = a.x;
        e.slope = (b.x - a.x) / (b.y - a.y);
        edges_.push(e);
    }
    bool cover_row(int y) {
        bool any = false;
        memset(coverage_, 0, sizeof(int) * static_cast<size_t>(surface_.width()));
        for (int s = 0; s < kSub; s++) {
            double line = y + (s + 0.5) / kSub;
            crossings_.clear();
            for (const Edge &e : edges_) {
                if (line < e.top || line >= e.bottom)
                    continue;
                double x = clamp((e.x + (line - e.top) * e.slope) * kOne, -1e6, 1e6);
                Crossing c;
                c.x = static_cast<int>(floor(x + 0.5));
                c.winding = e.winding;
                crossings_.push(c);
            }
            crossings_.insertion_sort(
                [](const Crossing &l, const Crossing &r) { return l.x < r.x; });
            int winding = 0;
            for (size_t i = 0; i + 1 < crossings_.size(); i++) {
                winding += rule_ == FillRule::NonZero ? crossings_[i].winding : 1;
                if (rule_ == FillRule::NonZero ? winding != 0 : winding & 1) {
                    add_span(crossings_[i].x, crossings_[i + 1].x);
                    any = true;
                }
            }
        }
        return any;
    }
    void add_span(int from, int to) {
        from = max(from, 0);
        to = min(to, surface_.width() * kOne);
        while (from < to) {
            int pixel = from / kOne, end = min(to, (pixel + 1) * kOne);
            coverage_[pixel] += end - from;
            from = end;
        }
    }
    void paint_row(int y, const Paint &paint, Blend mode) {
        for (int x = 0; x < surface_.width(); x++) {
            if (coverage_[x] == 0)
                continue;
            unsigned c = static_cast<unsigned>(coverage_[x] * 255 / kFull);
            surface_.put(x, y, paint.at(x + 0.5, y + 0.5), c, mode);
        }
    }

    Surface &surface_;
    FillRule rule_;
    int *coverage_;
    Array<Edge> edges_;
    Array<Crossing> crossings_;
};

// ---- hairlines --------------------------------------------------------------------------------

class LineDrawer {
  public:
    explicit LineDrawer(Surface &surface) : surface_(surface) {}

    // Returns false if nothing of the line is visible.
    bool draw(int x0, int y0, int x1, int y1, Colour c) {
        if (!clip(x0, y0, x1, y1))
            return false;
        int dx = abs(x1 - x0), dy = -abs(y1 - y0);
        int sx = x0 < x1 ? 1 : -1, sy = y0 < y1 ? 1 : -1, error = dx + dy;
        for (;;) {
            surface_.put(x0, y0, c, 255, Blend::Over);
            if (x0 == x1 && y0 == y1)
                return true;
            int twice = 2 * error;
            if (twice >= dy) {
                error += dy;
                x0 += sx;
            }
            if (twice <= dx) {
                error += dx;
                y0 += sy;
            }
        }
    }

  private:
    enum { Left = 1, Right = 2, Above = 4, Below = 8 };

    int outcode(int x, int y) const {
        int code = x < 0 ? Left : x >= surface_.width() ? Right : 0;
        return code | (y < 0 ? Above : y >= surface_.height() ? Below : 0);
    }
    // Cohen and Sutherland
    bool clip(int &x0, int &y0, int &x1, int &y1) const {
        int code0 = outcode(x0, y0), code1 = outcode(x1, y1);
        while (code0 | code1) {
            if (code0 & code1)
                return false;
            bool first = code0 != 0;
            int code = first ? code0 : code1, x, y;
            if (code & (Above | Below)) {
                y = code & Above ? 0 : surface_.height() - 1;
                x = x0 + (x1 - x0) * (y - y0) / (y1 - y0);
            } else {
                x = code & Left ? 0 : surface_.width() - 1;
                y = y0 + (y1 - y0) * (x - x0) / (x1 - x0);
            }
            if (first) {
                x0 = x;
                y0 = y;
                code0 = outcode(x, y);
            } else {
                x1 = x;
                y1 = y;
                code1 = outcode(x, y);
            }
        }
        return true;
    }
    Surface &surface_;
};

// Each glyph lists points on a 5 by 7 grid as digit pairs; a blank lifts the pen.
static const char *glyph_strokes(char c) {
    static const struct {
        char c;
        const char *strokes;
    } glyphs[] = {
        {'0', "00400646 06004046"}, {'1', "112026 0646"}, {'2', "01104041 410646"},
        {'3', "00404606 1343"},     {'7', "004016"},      {'A', "0602204246 0444"},
        {'E', "40000646 0333"},     {'L', "000646"},      {'R', "06004043031346"},
        {'S', "4000034346 4606"},   {'T', "0040 2026"},   {'X', "0046 4006"},
        {'Z', "00400646"},          {'-', "1333"},
    };
    for (const auto &g : glyphs)
        if (g.c == c)
            return g.strokes;
    return "";
}

static void draw_text(LineDrawer &lines, const char *text, int x, int y, int scale, Colour colour) {
    for (; *text; text++, x += 6 * scale) {
        int px = -1, py = -1;
        for (const char *s = glyph_strokes(*text); *s; s++) {
            if (*s == ' ') {
                px = -1;
                continue;
            }
            int qx = s[0] - '0', qy = s[1] - '0';
            if (px >= 0)
                lines.draw(x + px * scale, y + py * scale, x + qx * scale, y + qy * scale, colour);
            px = qx;
            py = qy;
            s++;
        }
    }
}

// ---- triangles --------------------------------------------------------------------------------

struct Vec3 {
    double x = 0, y = 0, z = 0;
};

static Vec3 operator-(Vec3 a, Vec3 b) {
    return {a.x - b.x, a.y - b.y, a.z - b.z};
}
static double dot(Vec3 a, Vec3 b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
static Vec3 cross(Vec3 a, Vec3 b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
static Vec3 normalised(Vec3 v) {
    double len = sqrt(dot(v, v));
    return {v.x / len, v.y / len, v.z / len};
}

class Mesh {
  public:
    struct Triangle {
        int v[3] = {0, 0, 0};
    };
    Array<Vec3> positions, normals;
    Array<Triangle> triangles;

    void torus(double major, double minor, int rings, int sides) {
        for (int i = 0; i < rings; i++) {
            double u = static_cast<double>(i) / rings;
            for (int j = 0; j < sides; j++) {
                double v = static_cast<double>(j) / sides, r = major + minor * cos_turns(v);
                positions.push({r * cos_turns(u), r * sin_turns(u), minor * sin_turns(v)});
                int right = (i + 1) % rings, up = (j + 1) % sides;
                quad(i * sides + j, right * sides + j, right * sides + up, i * sides + up);
            }
        }
        smooth();
    }

  private:
    void quad(int a, int b, int c, int d) {
        triangles.push(Triangle{{a, b, c}});
        triangles.push(Triangle{{a, c, d}});
    }
    // Vertex normals: the area-weighted average of the faces around.
    void smooth() {
        normals.clear();
        for (size_t i = 0; i < positions.size(); i++)
            normals.push(Vec3());
        for (const Triangle &t : triangles) {
            Vec3 n =
                cross(positions[t.v[1]] - positions[t.v[0]], positions[t.v[2]] - positions[t.v[0]]);
            for (int v : t.v) {
                normals[v].x += n.x;
                normals[v].y += n.y;
                normals[v].z += n.z;
            }
        }
        for (Vec3 &n : normals)
            n = normalised(n);
    }
};

struct Mat3 {
    double m[3][3];

    Vec3 operator*(Vec3 v) const {
        return {m[0][0] * v.x + m[0][1] * v.y + m[0][2] * v.z,
                m[1][0] * v.x + m[1][1] * v.y + m[1][2] * v.z,
                m[2][0] * v.x + m[2][1] * v.y + m[2][2] * v.z};
    }
    Mat3 operator*(const Mat3 &o) const {
        Mat3 r;
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++)
                r.m[i][j] = m[i][0] * o.m[0][j] + m[i][1] * o.m[1][j] + m[i][2] * o.m[2][j];
        return r;
    }
    static Mat3 about_x(double turns) {
        double s = sin_turns(turns), c = cos_turns(turns);
        return {{{1, 0, 0}, {0, c, -s}, {0, s, c}}};
    }
    static Mat3 about_y(double turns) {
        double s = sin_turns(turns), c = cos_turns(turns);
        return {{{c, 0, s}, {0, 1, 0}, {-s, 0, c}}};
    }
};

class Pipeline {
  public:
    explicit Pipeline(Surface &surface)
        : surface_(surface),
          depth_(new float[static_cast<size_t>(surface.width() * surface.height())]) {
        for (int i = 0; i < surface.width() * surface.height(); i++)
            depth_[i] = 1e9f;
    }
    ~Pipeline() { delete[] depth_; }
    Pipeline(const Pipeline &) = delete;
    Pipeline &operator=(const Pipeline &) = delete;

    // Returns the number of triangles that face the camera.
    int draw(const Mesh &mesh, const Mat3 &pose, double distance, Colour base) {
        const Vec3 light = normalised({0.4, -0.7, -0.6});
        Array<Shaded> screen;
        int facing = 0;
        for (size_t i = 0; i < mesh.positions.size(); i++) {
            Vec3 p = pose * mesh.positions[i], n = pose * mesh.normals[i];
            Shaded s;
            s.z = p.z + distance;
            s.x = surface_.width() * (0.5 + p.x / s.z);
            s.y = surface_.height() * (0.5 + p.y / s.z);
            s.light = clamp(0.15 + 0.85 * dot(n, light), 0.15, 1.0);
            screen.push(s);
        }
        for (const Mesh::Triangle &t : mesh.triangles)
            facing += triangle(screen[t.v[0]], screen[t.v[1]], screen[t.v[2]], base);
        return facing;
    }

  private:
    struct Shaded {
        double x = 0, y = 0, z = 0, light = 0;
    };

    static double edge(const Shaded &a, const Shaded &b, double x, double y) {
        return (b.x - a.x) * (y - a.y) - (b.y - a.y) * (x - a.x);
    }
    bool triangle(const Shaded &a, const Shaded &b, const Shaded &c, Colour base) {
        double area = edge(a, b, c.x, c.y);
        if (area >= 0)
            return false; // seen from behind, or degenerate
        int left = static_cast<int>(max(0.0, floor(min(a.x, min(b.x, c.x)))));
        int top = static_cast<int>(max(0.0, floor(min(a.y, min(b.y, c.y)))));
        int right = static_cast<int>(min(surface_.width() - 1.0, max(a.x, max(b.x, c.x))));
        int bottom = static_cast<int>(min(surface_.height() - 1.0, max(a.y, max(b.y, c.y))));
        for (int y = top; y <= bottom; y++) {
            for (int x = left; x <= right; x++) {
                double px = x + 0.5, py = y + 0.5;
                double wa = edge(b, c, px, py) / area, wb = edge(c, a, px, py) / area;
                double wc = edge(a, b, px, py) / area;
                if (wa < 0 || wb < 0 || wc < 0)
                    continue;
                // 1/z is linear in screen space
                float z = static_cast<float>(1 / (wa / a.z + wb / b.z + wc / c.z));
                float &nearest = depth_[y * surface_.width() + x];
                if (z >= nearest)
                    continue;
                nearest = z;
                double light = wa * a.light + wb * b.light + wc * c.light;
                unsigned shade = static_cast<unsigned>(light * 255 + 0.5);
                Colour lit = {mul255(base.r, shade), mul255(base.g, shade), mul255(base.b, shade),
                              255};
                surface_.put(x, y, lit, 255, Blend::Over);
            }
        }
        return true;
    }

    Surface &surface_;
    float *depth_;
};

} // namespace raster

using namespace raster;

static void draw_background(Surface &s) {
    LinearGradient sky({0, 0}, {0, 64});
    sky.stop(1, {250, 220, 180, 255});
    sky.stop(0, {20, 40, 90, 255});
    sky.stop(0.6, {120, 110, 160, 255});
    Path frame;
    frame.move_to({-5, -5}).line_to({200, -5}).line_to({200, 200}).line_to({-5, 200}).close();
    Filler(s, FillRule::NonZero).fill(frame, sky, Blend::Over);
}

static size_t draw_shapes(Surface &s) {
    SolidPaint red({220, 40, 60, 200}), white({255, 255, 255, 255});
    RadialGradient glow({48, 14}, 16);
    glow.stop(0, {255, 240, 160, 255});
    glow.stop(1, {255, 160, 0, 0});
    CheckerPaint checker(red, white, 3);
    Filler even_odd(s, FillRule::EvenOdd), non_zero(s, FillRule::NonZero);

    Path sun, star, leaf, ring;
    sun.ellipse({48, 14}, 15.5, 12.25);
    non_zero.fill(sun, glow, Blend::Screen);

    star.star({0, 0}, 14, 5.5, 5);
    star.transform(Affine::translate(18, 20) * Affine::rotate(0.07) * Affine::scale(1.1));
    even_odd.fill(star, checker, Blend::Over);

    leaf.move_to({6, 58}).quad_to({20, 30}, {44, 44}).cubic_to({40, 60}, {22, 64}, {6, 58}).close();
    non_zero.fill(leaf, red, Blend::Multiply);

    const Join joins[] = {Join::Bevel, Join::Miter, Join::Round};
    for (int i = 0; i < 3; i++) {
        Path outline, zigzag;
        zigzag.move_to({4.0 + 20 * i, 60})
            .line_to({10.0 + 20 * i, 50.5})
            .line_to({16.0 + 20 * i, 60});
        Stroker(outline, 3.5, joins[i]).stroke(zigzag);
        non_zero.fill(outline, white, i == 1 ? Blend::Difference : Blend::Add);
    }
    ring.ellipse({40, 34}, 12, 12).ellipse({40, 34}, 7, 7);
    even_odd.fill(ring, SolidPaint({30, 200, 180, 160}), Blend::Over);
    return leaf.point_count() + sun.point_count() + ring.point_count();
}

int main() {
    Surface canvas(64, 64, Colour());
    draw_background(canvas);
    size_t points = draw_shapes(canvas);
    uint32_t vector_hash = canvas.hash();
    printf("shapes: %zu flattened points, %08x\n", points, static_cast<unsigned>(vector_hash));

    LineDrawer lines(canvas);
    int visible = 0;
    for (int i = 0; i < 24; i++)
        visible += lines.draw(80 - i * 7, -20 + i * 3, i * 11 - 60, 90 - i, {0, 0, 0, 90});
    draw_text(lines, "RASTER-1237", -3, 2, 1, {255, 255, 0, 255});
    draw_text(lines, "LZX0", 8, 40, 2, {0, 0, 0, 255});
    uint32_t line_hash = canvas.hash();
    printf("lines: %d visible, %08x\n", visible, static_cast<unsigned>(line_hash));

    Mesh torus;
    torus.torus(1.0, 0.4, 14, 8);
    Pipeline pipeline(canvas);
    int facing =
        pipeline.draw(torus, Mat3::about_x(0.12) * Mat3::about_y(0.05), 4.5, {90, 170, 250, 255});
    facing +=
        pipeline.draw(torus, Mat3::about_x(0.37) * Mat3::about_y(0.11), 4.5, {250, 140, 60, 255});
    printf("mesh: %d of %zu triangles face the camera\n", facing, 2 * torus.triangles.size());
    printf("checksum %08x\n", static_cast<unsigned>(canvas.hash()));
    return vector_hash != line_hash && facing > 0 ? 0 : 1;
}
