// Slab allocator for objects of one type: slots are carved from pages, linked into a free list
// while unused, and given back when the slab goes away.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

inline void *operator new(size_t, void *where) noexcept {
    return where;
}

template <class T, size_t PerPage> class Slab {
  public:
    Slab() = default;
    Slab(const Slab &) = delete;
    Slab &operator=(const Slab &) = delete;
    ~Slab() {
        while (pages_) {
            Page *next = pages_->next;
            free(pages_);
            pages_ = next;
        }
    }

    // Returns null when out of memory.
    template <class... Args> T *create(Args... args) noexcept {
        if (!free_list_ && !grow())
            return nullptr;
        Slot *slot = free_list_;
        free_list_ = slot->next_free;
        return new (slot->bytes) T(args...);
    }
    void destroy(T *object) noexcept {
        object->~T();
        Slot *slot = reinterpret_cast<Slot *>(object);
        slot->next_free = free_list_;
        free_list_ = slot;
    }
    unsigned page_count() const noexcept { return page_count_; }

  private:
    union Slot {
        Slot *next_free;
        alignas(T) unsigned char bytes[sizeof(T)];
    };
    struct Page {
        Page *next;
        Slot slots[PerPage];
    };

    bool grow() noexcept {
        Page *page = static_cast<Page *>(malloc(sizeof(Page)));
        if (!page)
            return false;
        for (Slot &slot : page->slots) {
            slot.next_free = free_list_;
            free_list_ = &slot;
        }
        page->next = pages_;
        pages_ = page;
        page_count_++;
        return true;
    }

    Page *pages_ = nullptr;
    Slot *free_list_ = nullptr;
    unsigned page_count_ = 0;
};

struct Session {
    static int alive;
    uint64_t token;
    uint16_t port;
    Session(uint64_t t, uint16_t p) noexcept : token(t), port(p) { alive++; }
    ~Session() { alive--; }
};
int Session::alive = 0;

int main() {
    Slab<Session, 10> slab;
    Session *table[64] = {};
    uint64_t seed = 0x5eed, checksum = 0;
    for (int step = 0; step < 1000; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        Session *&entry = table[seed >> 58];
        if (entry) {
            checksum = checksum * 31 + (entry->token ^ entry->port);
            slab.destroy(entry);
            entry = nullptr;
        } else if (!(entry = slab.create(seed, uint16_t(step)))) {
            return 1;
        }
    }
    printf("%d sessions on %u pages\n", Session::alive, slab.page_count());
    for (Session *entry : table)
        if (entry)
            slab.destroy(entry);
    printf("checksum %08x\n", uint32_t(checksum ^ checksum >> 32));
    return Session::alive;
}
