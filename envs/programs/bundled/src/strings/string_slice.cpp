// Non-owning string slices: trimming, splitting and number parsing without copying, used to pick
// the best entry of a weighted list such as "gzip; 50, br; 80".
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

class Slice {
  public:
    Slice(const char *text = "") : Slice(text, text + strlen(text)) {}
    Slice(const char *begin, const char *end) : begin_(begin), end_(end) {}

    bool empty() const { return begin_ == end_; }
    size_t size() const { return size_t(end_ - begin_); }
    const char *begin() const { return begin_; }
    const char *end() const { return end_; }
    bool operator==(Slice o) const {
        return size() == o.size() && !memcmp(begin_, o.begin_, size());
    }

    Slice trim() const {
        Slice s = *this;
        while (!s.empty() && *s.begin_ == ' ')
            s.begin_++;
        while (!s.empty() && s.end_[-1] == ' ')
            s.end_--;
        return s;
    }
    // Cuts off and returns what comes before the separator; what comes after it stays behind.
    Slice take_until(char separator) {
        const char *start = begin_;
        while (!empty() && *begin_ != separator)
            begin_++;
        Slice head(start, begin_);
        if (!empty())
            begin_++;
        return head;
    }
    // The number the slice spells, or -1.
    int to_int() const {
        int value = empty() ? -1 : 0;
        for (char c : *this) {
            if (c < '0' || c > '9' || value > INT32_MAX / 10 - 1)
                return -1;
            value = value * 10 + (c - '0');
        }
        return value;
    }

  private:
    const char *begin_, *end_;
};

// The name with the greatest weight; entries that make no sense are counted and passed over.
Slice best_entry(Slice list, unsigned *faults) {
    Slice best;
    int greatest = -1;
    while (!list.empty()) {
        Slice entry = list.take_until(',');
        Slice name = entry.take_until(';').trim();
        int weight = entry.trim().to_int();
        if (name.empty() || weight < 0) {
            ++*faults;
        } else if (weight > greatest) {
            greatest = weight;
            best = name;
        }
    }
    return best;
}

static const struct {
    const char *list, *expected;
} samples[] = {
    {"gzip; 80, br ;  100,deflate;50", "br"},
    {" identity ;1,,zstd; 7 , lz4;high", "zstd"},
    {"compress, ;9", ""},
};

int main() {
    uint32_t checksum = 5381;
    unsigned faults = 0, failures = 0;
    for (const auto &sample : samples) {
        Slice best = best_entry(sample.list, &faults);
        failures += !(best == sample.expected);
        checksum = checksum * 33 + uint32_t(best.size()) * faults;
        printf("best of '%s': '%.*s'\n", sample.list, int(best.size()), best.begin());
    }
    printf("checksum %08x\n", checksum);
    return failures || faults != 4;
}
