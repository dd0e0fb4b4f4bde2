// Q16.16 fixed-point number class with saturating operators and a Newton square root.
#include <stdint.h>
#include <stdio.h>

class Fixed {
  public:
    constexpr Fixed(int16_t whole) : raw_(int32_t(whole) * kOne) {}
    static Fixed from_raw(int64_t raw) {
        Fixed f(0);
        f.raw_ = int32_t(raw > INT32_MAX ? INT32_MAX : raw < INT32_MIN ? INT32_MIN : raw);
        return f;
    }
    int32_t raw() const { return raw_; }

    Fixed operator+(Fixed o) const { return from_raw(int64_t(raw_) + o.raw_); }
    Fixed operator*(Fixed o) const { return from_raw(int64_t(raw_) * o.raw_ / kOne); }
    Fixed operator/(Fixed o) const {
        if (o.raw_ == 0)
            return from_raw(raw_ < 0 ? INT64_MIN : INT64_MAX);
        return from_raw(int64_t(raw_) * kOne / o.raw_);
    }

  private:
    static constexpr int32_t kOne = 1 << 16;
    int32_t raw_;
};

// Rounded down; zero for negative numbers.
Fixed square_root(Fixed x) {
    int64_t square = x.raw() > 0 ? int64_t(x.raw()) << 16 : 0, guess = square;
    while (guess > 0 && square / guess < guess)
        guess = (guess + square / guess) / 2;
    return Fixed::from_raw(guess);
}

int main() {
    Fixed golden = 1, root = square_root(2), overflow = root / 0;
    for (int i = 0; i < 20; i++)
        golden = Fixed(1) + Fixed(1) / golden;
    printf("golden ratio %d/65536\n", golden.raw());
    printf("checksum %08x\n", uint32_t(golden.raw()) << 8 ^ uint32_t((root * golden).raw()));
    return golden.raw() != 106039 || root.raw() != 92681 || overflow.raw() != INT32_MAX;
}
