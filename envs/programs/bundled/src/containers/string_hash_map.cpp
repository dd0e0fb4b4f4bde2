// Open-addressing (Robin Hood) hash map template with interned string keys and
// backward-shift deletion, used for word statistics.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

template <class V> class StringMap {
  public:
    StringMap() { allocate(8); }
    ~StringMap() {
        for (size_t i = 0; i < capacity_; i++)
            delete[] slots_[i].key;
        delete[] slots_;
    }
    StringMap(const StringMap &) = delete;
    StringMap &operator=(const StringMap &) = delete;

    V &at_or_insert(const char *key, size_t len) {
        if (V *found = find(key, len))
            return *found;
        if ((size_ + 1) * 8 > capacity_ * 7)
            grow();
        char *copy = new char[len + 1];
        memcpy(copy, key, len);
        copy[len] = '\0';
        size_++;
        return *place(Slot{copy, hash(key, len), V()});
    }

    V *find(const char *key, size_t len) const {
        size_t i = locate(key, len);
        return i == kNone ? nullptr : &slots_[i].value;
    }

    bool erase(const char *key, size_t len) {
        size_t i = locate(key, len);
        if (i == kNone)
            return false;
        delete[] slots_[i].key;
        for (size_t next = (i + 1) & mask(); slots_[next].key && distance(next) > 0;
             i = next, next = (next + 1) & mask())
            slots_[i] = slots_[next];
        slots_[i] = Slot();
        size_--;
        return true;
    }

    template <class Visitor> void for_each(Visitor visit) const {
        for (size_t i = 0; i < capacity_; i++) {
            if (slots_[i].key)
                visit(slots_[i].key, slots_[i].value);
        }
    }

    size_t size() const { return size_; }
    size_t capacity() const { return capacity_; }

  private:
    struct Slot {
        char *key = nullptr;
        uint32_t hash = 0;
        V value = V();
        Slot() = default;
        Slot(char *k, uint32_t h, V v) : key(k), hash(h), value(v) {}
    };
    static constexpr size_t kNone = ~size_t(0);

    static uint32_t hash(const char *key, size_t len) {
        uint32_t h = 2166136261u;
        for (size_t i = 0; i < len; i++)
            h = (h ^ uint8_t(key[i])) * 16777619u;
        return h ^ h >> 15;
    }

    size_t mask() const { return capacity_ - 1; }
    size_t distance(size_t i) const { return (i - slots_[i].hash) & mask(); }

    size_t locate(const char *key, size_t len) const {
        uint32_t h = hash(key, len);
        size_t i = h & mask();
        for (size_t d = 0; slots_[i].key && d <= distance(i); d++, i = (i + 1) & mask()) {
            const Slot &s = slots_[i];
            if (s.hash == h && strncmp(s.key, key, len) == 0 && s.key[len] == '\0')
                return i;
        }
        return kNone;
    }

    // Takes from the rich: an entry closer to home gives way to the one being placed.
    V *place(Slot incoming) {
        V *result = nullptr;
        size_t i = incoming.hash & mask();
        for (size_t d = 0; slots_[i].key; d++, i = (i + 1) & mask()) {
            if (distance(i) >= d)
                continue;
            size_t displaced = distance(i);
            Slot evicted = slots_[i];
            slots_[i] = incoming;
            if (!result)
                result = &slots_[i].value;
            incoming = evicted;
            d = displaced;
        }
        slots_[i] = incoming;
        return result ? result : &slots_[i].value;
    }

    void allocate(size_t capacity) {
        slots_ = new Slot[capacity];
        capacity_ = capacity;
    }

    void grow() {
        Slot *old = slots_;
        size_t count = capacity_;
        allocate(count * 2);
        for (size_t i = 0; i < count; i++) {
            if (old[i].key)
                place(old[i]);
        }
        delete[] old;
    }

    Slot *slots_;
    size_t capacity_;
    size_t size_ = 0;
};

static const char kText[] =
    "a rope over the top of a fence costs the same per length as a rope under the fence but "
    "the rope that runs along the fence is a rope that no one counts and no one cuts and no "
    "one coils when the day is over";

int main() {
    StringMap<int> words;
    size_t total = 0;
    for (const char *p = kText; *p;) {
        size_t n = strcspn(p, " ");
        words.at_or_insert(p, n)++;
        total++;
        p += n + (p[n] != '\0');
    }
    printf("%zu words, %zu distinct, capacity %zu\n", total, words.size(), words.capacity());

    // Entries are folded commutatively, so the slot order does not matter.
    uint32_t digest = 0;
    size_t sum = 0;
    words.for_each([&](const char *key, int count) {
        uint32_t h = uint32_t(count);
        for (; *key; key++)
            h = h * 31 + uint8_t(*key);
        digest += h * 2654435761u;
        sum += size_t(count);
    });
    bool ok = sum == total && words.erase("rope", 4) && !words.erase("rope", 4) &&
              words.erase("the", 3) && !words.find("rope", 4) && words.find("over", 4);
    int *no = words.find("no", 2);
    if (!ok || !no || *no != 3)
        return 1;
    printf("checksum %08x\n", unsigned(digest + words.size()));
    return 0;
}
