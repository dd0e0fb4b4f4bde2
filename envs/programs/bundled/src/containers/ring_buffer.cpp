// Growing double-ended queue in a power-of-two ring, used for a sliding-window maximum that is
// checked against a plain search of the window.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

template <class T> class RingBuffer {
  public:
    RingBuffer() = default;
    RingBuffer(const RingBuffer &) = delete;
    RingBuffer &operator=(const RingBuffer &) = delete;
    ~RingBuffer() { delete[] slots_; }

    bool empty() const noexcept { return size_ == 0; }
    size_t size() const noexcept { return size_; }
    T &operator[](size_t i) noexcept { return slots_[(head_ + i) & (capacity_ - 1)]; }
    T &back() noexcept { return (*this)[size_ - 1]; }

    void push_back(const T &value) noexcept {
        if (size_ == capacity_)
            grow();
        size_++;
        back() = value;
    }
    void pop_back() noexcept { size_--; }
    void pop_front() noexcept {
        head_++;
        size_--;
    }

  private:
    // Out of memory ends the program.
    void grow() noexcept {
        size_t capacity = capacity_ ? capacity_ * 2 : 4;
        T *slots = new T[capacity];
        for (size_t i = 0; i < size_; i++)
            slots[i] = (*this)[i];
        delete[] slots_;
        slots_ = slots;
        capacity_ = capacity;
        head_ = 0;
    }
    T *slots_ = nullptr;
    size_t capacity_ = 0, head_ = 0, size_ = 0;
};

// Maximum of the last `window` samples, in amortised constant time.
class SlidingMaximum {
  public:
    explicit SlidingMaximum(uint32_t window) noexcept : window_(window) {}
    int add(int sample) noexcept {
        while (!candidates_.empty() && candidates_.back().value <= sample)
            candidates_.pop_back();
        candidates_.push_back({sample, now_});
        if (candidates_[0].time + window_ == now_++)
            candidates_.pop_front();
        return candidates_[0].value;
    }
    size_t candidates() const noexcept { return candidates_.size(); }

  private:
    struct Candidate {
        int value;
        uint32_t time;
    };
    RingBuffer<Candidate> candidates_;
    uint32_t window_, now_ = 0;
};

int main() {
    const int window = 12, count = 400;
    SlidingMaximum maximum(window);
    int samples[count];
    uint32_t seed = 99, checksum = 0;
    size_t most = 0;
    for (int i = 0; i < count; i++) {
        seed = seed * 1103515245u + 12345u;
        samples[i] = int(seed >> 20) - i * 60;
        int fast = maximum.add(samples[i]), slow = samples[i];
        for (int j = i; j >= 0 && j > i - window; j--)
            slow = samples[j] > slow ? samples[j] : slow;
        if (fast != slow)
            return 1;
        if (maximum.candidates() > most)
            most = maximum.candidates();
        checksum = checksum * 31 + uint32_t(fast);
    }
    printf("at most %zu candidates\n", most);
    printf("checksum %08x\n", checksum);
    return 0;
}
