// Text editor core: a gap buffer with grouped undo and redo, marks that follow edits, a kill
// ring and a small command language driving it all.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

namespace editor {

// Growable array for trivially copyable elements.
template <typename T> class Vec {
  public:
    Vec() = default;
    Vec(const Vec &) = delete;
    Vec &operator=(const Vec &) = delete;
    ~Vec() { delete[] data_; }

    void push(const T &v) {
        if (size_ == cap_)
            grow(cap_ ? cap_ * 2 : 8);
        data_[size_++] = v;
    }
    void truncate(size_t n) { size_ = n; }
    T &operator[](size_t i) { return data_[i]; }
    const T &operator[](size_t i) const { return data_[i]; }
    T &back() { return data_[size_ - 1]; }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    T *begin() { return data_; }
    T *end() { return data_ + size_; }

  private:
    void grow(size_t cap) {
        T *bigger = new T[cap];
        for (size_t i = 0; i < size_; i++)
            bigger[i] = data_[i];
        delete[] data_;
        data_ = bigger;
        cap_ = cap;
    }
    T *data_ = nullptr;
    size_t size_ = 0, cap_ = 0;
};

class GapBuffer {
  public:
    explicit GapBuffer(size_t cap) : text_(new char[cap]), cap_(cap), gap_end_(cap) {}
    GapBuffer(const GapBuffer &) = delete;
    GapBuffer &operator=(const GapBuffer &) = delete;
    ~GapBuffer() { delete[] text_; }

    size_t size() const { return cap_ - (gap_end_ - gap_); }
    char at(size_t i) const { return i < gap_ ? text_[i] : text_[i + (gap_end_ - gap_)]; }

    void insert(size_t pos, const char *s, size_t n) {
        if (gap_end_ - gap_ < n)
            enlarge(n);
        move_gap(pos);
        memcpy(text_ + gap_, s, n);
        gap_ += n;
    }
    void erase(size_t pos, size_t n) {
        move_gap(pos);
        gap_end_ += n;
    }

  private:
    void move_gap(size_t pos) {
        if (pos < gap_) {
            size_t n = gap_ - pos;
            memmove(text_ + gap_end_ - n, text_ + pos, n);
            gap_ -= n;
            gap_end_ -= n;
        } else if (pos > gap_) {
            size_t n = pos - gap_;
            memmove(text_ + gap_, text_ + gap_end_, n);
            gap_ += n;
            gap_end_ += n;
        }
    }
    void enlarge(size_t need) {
        size_t cap = cap_ * 2 + need, tail = cap_ - gap_end_;
        char *bigger = new char[cap];
        memcpy(bigger, text_, gap_);
        memcpy(bigger + cap - tail, text_ + gap_end_, tail);
        delete[] text_;
        text_ = bigger;
        gap_end_ = cap - tail;
        cap_ = cap;
    }
    char *text_;
    size_t cap_, gap_ = 0, gap_end_;
};

// Everything that wants to hear about changes: marks, statistics, views.
class Listener {
  public:
    virtual ~Listener() = default;
    virtual void on_insert(size_t pos, size_t n) = 0;
    virtual void on_erase(size_t pos, size_t n) = 0;
};

class Document {
  public:
    Document() : buffer_(32) {}

    size_t size() const { return buffer_.size(); }
    char at(size_t i) const { return buffer_.at(i); }
    void listen(Listener *l) { listeners_.push(l); }

    void insert(size_t pos, const char *s, size_t n) { record(Change::Insert, pos, s, n); }
    void insert(size_t pos, const char *s) { insert(pos, s, strlen(s)); }
    void erase(size_t pos, size_t n) {
        Vec<char> gone;
        copy_out(pos, n, gone);
        record(Change::Erase, pos, gone.begin(), n);
    }
    void copy_out(size_t pos, size_t n, Vec<char> &out) const {
        for (size_t i = 0; i < n; i++)
            out.push(at(pos + i));
    }

    // Changes between two checkpoints undo as one.
    void checkpoint() { group_++; }

    bool undo() {
        if (done_ == 0)
            return false;
        unsigned group = log_[done_ - 1].group;
        while (done_ > 0 && log_[done_ - 1].group == group) {
            const Change &c = log_[--done_];
            apply(c, c.kind == Change::Erase);
        }
        return true;
    }
    bool redo() {
        if (done_ == log_.size())
            return false;
        unsigned group = log_[done_].group;
        while (done_ < log_.size() && log_[done_].group == group) {
            const Change &c = log_[done_++];
            apply(c, c.kind == Change::Insert);
        }
        return true;
    }

    // First occurrence at or after from; size() when there is none.
    size_t find(const char *needle, size_t from) const {
        size_t n = strlen(needle);
        for (size_t i = from; i + n <= size(); i++) {
            size_t k = 0;
            while (k < n && at(i + k) == needle[k])
                k++;
            if (k == n)
                return i;
        }
        return size();
    }
    size_t line_start(size_t pos) const {
        while (pos > 0 && at(pos - 1) != '\n')
            pos--;
        return pos;
    }
    size_t line_end(size_t pos) const {
        while (pos < size() && at(pos) != '\n')
            pos++;
        return pos;
    }

  private:
    struct Change {
        enum Kind : uint8_t { Insert, Erase } kind;
        unsigned group;
        size_t pos, text, len; // text indexes the arena
    };

    void record(Change::Kind kind, size_t pos, const char *s, size_t n) {
        if (n == 0)
            return;
        if (done_ < log_.size()) {
            arena_.truncate(log_[done_].text);
            log_.truncate(done_);
        }
        Change c = {kind, group_, pos, arena_.size(), n};
        for (size_t i = 0; i < n; i++)
            arena_.push(s[i]);
        // Typing extends the previous change rather than piling up one per key.
        if (done_ > 0 && kind == Change::Insert && log_.back().kind == kind &&
            log_.back().group == group_ && log_.back().pos + log_.back().len == pos)
            log_.back().len += n;
        else
            log_.push(c);
        done_ = log_.size();
        apply(c, kind == Change::Insert);
    }
    void apply(const Change &c, bool inserting) {
        if (inserting)
            buffer_.insert(c.pos, arena_.begin() + c.text, c.len);
        else
            buffer_.erase(c.pos, c.len);
        for (Listener *l : listeners_) {
            if (inserting)
                l->on_insert(c.pos, c.len);
            else
                l->on_erase(c.pos, c.len);
        }
    }

    GapBuffer buffer_;
    Vec<Change> log_;
    Vec<char> arena_;
    Vec<Listener *> listeners_;
    size_t done_ = 0;
    unsigned group_ = 0;
};

class Mark : public Listener {
  public:
    explicit Mark(Document &doc, bool sticky) : sticky_(sticky) { doc.listen(this); }
    void on_insert(size_t pos, size_t n) override {
        if (pos < pos_ || (pos == pos_ && !sticky_))
            pos_ += n;
    }
    void on_erase(size_t pos, size_t n) override {
        if (pos_ >= pos + n)
            pos_ -= n;
        else if (pos_ > pos)
            pos_ = pos;
    }
    size_t pos() const { return pos_; }
    void set(size_t pos) { pos_ = pos; }

  private:
    size_t pos_ = 0;
    bool sticky_; // stays before text inserted right at it
};

class Churn : public Listener {
  public:
    void on_insert(size_t, size_t n) override { inserted += n; }
    void on_erase(size_t, size_t n) override { erased += n; }
    size_t inserted = 0, erased = 0;
};

class Editor {
  public:
    Editor() : cursor_(doc_, false), anchor_(doc_, true) { doc_.listen(&churn_); }

    const Document &document() const { return doc_; }
    const Churn &churn() const { return churn_; }

    // Runs a script of one letter commands, returning the index of the first bad one or -1:
    //   i"text"  insert          s"old"new"  substitute all    f"text"  jump to match
    //   g N      go to line      h l N       move by columns   d N      delete characters
    //   m        set anchor      k           kill to anchor    y        yank
    //   K        kill line       u r N       undo, redo        c        capitalise word
    int run(const char *script) {
        const char *p = script;
        while (*p) {
            const char *start = p;
            char op = *p++;
            if (op == ' ')
                continue;
            if (op != 'u' && op != 'r')
                doc_.checkpoint();
            if (!step(op, p))
                return int(start - script);
        }
        return -1;
    }

  private:
    static const size_t ARG_MAX = 64;

    static bool quoted(const char *&p, char *out) {
        size_t n = 0;
        for (; *p && *p != '"'; p++) {
            char c = *p;
            if (c == '\\' && p[1])
                c = *++p == 'n' ? '\n' : *p;
            if (n + 1 == ARG_MAX)
                return false;
            out[n++] = c;
        }
        out[n] = '\0';
        if (*p != '"')
            return false;
        p++;
        return true;
    }
    static size_t number(const char *&p) {
        size_t v = 0;
        if (*p < '0' || *p > '9')
            return 1;
        while (*p >= '0' && *p <= '9')
            v = v * 10 + size_t(*p++ - '0');
        return v;
    }

    bool step(char op, const char *&p) {
        char text[ARG_MAX], with[ARG_MAX];
        size_t at = cursor_.pos(), n;
        switch (op) {
        case 'i':
            if (*p++ != '"' || !quoted(p, text))
                return false;
            for (const char *key = text; *key; key++)
                doc_.insert(cursor_.pos(), key, 1);
            return true;
        case 'f':
            if (*p++ != '"' || !quoted(p, text))
                return false;
            at = doc_.find(text, at);
            if (at == doc_.size())
                return false;
            cursor_.set(at);
            return true;
        case 's':
            if (*p++ != '"' || !quoted(p, text) || !quoted(p, with) || !*text)
                return false;
            substitute(text, with);
            return true;
        case 'g':
            cursor_.set(0);
            for (n = number(p); n > 1 && doc_.line_end(cursor_.pos()) < doc_.size(); n--)
                cursor_.set(doc_.line_end(cursor_.pos()) + 1);
            return n <= 1;
        case 'h':
            n = number(p);
            cursor_.set(n < at ? at - n : 0);
            return true;
        case 'l':
            n = number(p);
            cursor_.set(at + n < doc_.size() ? at + n : doc_.size());
            return true;
        case 'd':
            n = number(p);
            doc_.erase(at, n < doc_.size() - at ? n : doc_.size() - at);
            return true;
        case 'm':
            anchor_.set(at);
            return true;
        case 'k':
            n = anchor_.pos();
            kill(n < at ? n : at, n < at ? at - n : n - at);
            return true;
        case 'K': {
            size_t start = doc_.line_start(at), stop = doc_.line_end(at);
            kill(start, stop - start + (stop < doc_.size()));
            return true;
        }
        case 'y':
            if (kills_.empty())
                return false;
            doc_.insert(at, kills_.begin(), kills_.size());
            return true;
        case 'u':
            for (n = number(p); n > 0 && doc_.undo(); n--)
                continue;
            return n == 0;
        case 'r':
            for (n = number(p); n > 0 && doc_.redo(); n--)
                continue;
            return n == 0;
        case 'c':
            capitalise();
            return true;
        default:
            return false;
        }
    }

    void substitute(const char *text, const char *with) {
        size_t len = strlen(text);
        for (size_t at = doc_.find(text, 0); at < doc_.size();) {
            doc_.erase(at, len);
            doc_.insert(at, with);
            at = doc_.find(text, at + strlen(with));
        }
    }
    void kill(size_t pos, size_t n) {
        kills_.truncate(0);
        doc_.copy_out(pos, n, kills_);
        doc_.erase(pos, n);
    }
    void capitalise() {
        size_t at = cursor_.pos();
        char c = at < doc_.size() ? doc_.at(at) : ' ';
        if (c >= 'a' && c <= 'z') {
            c = char(c - 'a' + 'A');
            doc_.erase(at, 1);
            doc_.insert(at, &c, 1);
        }
        while (cursor_.pos() < doc_.size() && doc_.at(cursor_.pos()) > ' ')
            cursor_.set(cursor_.pos() + 1);
    }

    Document doc_;
    Mark cursor_, anchor_;
    Churn churn_;
    Vec<char> kills_;
};

} // namespace editor

static uint32_t fingerprint(const editor::Document &doc) {
    uint32_t h = 0x811c9dc5u;
    for (size_t i = 0; i < doc.size(); i++)
        h = (h ^ uint8_t(doc.at(i))) * 0x01000193u;
    return h;
}

int main() {
    static const char *const session[] = {
        "i\"the quick brown fox\\njumps over\\nthe lazy dog\\n\"",
        "g1 c l1 c g3 f\"lazy\" i\"very, very \"",
        "s\"the\"a\" s\"very\"really\"",
        "g2 K g1 y g9",
        "g1 f\"brown\" m f\"fox\" k g2 y i\"(moved) \"",
        "g1 d4 h100 l3 m l5 k f\"zebra\"",
    };
    editor::Editor ed;
    uint32_t states[8] = {fingerprint(ed.document())}, check = 0;
    int bad = 0, count = 1;
    for (const char *script : session) {
        int stop = ed.run(script);
        states[count] = fingerprint(ed.document());
        check = check * 33 + states[count++] + uint32_t(stop);
    }
    char line[64];
    size_t n = 0;
    for (; n + 1 < sizeof line && n < ed.document().size() && ed.document().at(n) != '\n'; n++)
        line[n] = ed.document().at(n);
    line[n] = '\0';
    printf("first line \"%s\"\n", line);

    // Unwind the whole history and replay it.
    int undone = 0, redone = 0;
    while (ed.run("u") < 0)
        undone++;
    bad += fingerprint(ed.document()) != states[0];
    while (ed.run("r") < 0)
        redone++;
    bad += fingerprint(ed.document()) != states[count - 1] || undone != redone;
    ed.run("u3 i\"fork\"");
    bad += ed.run("r") != 0;
    check = check * 33 + fingerprint(ed.document());
    printf("undone %d redone %d, inserted %zu erased %zu\n", undone, redone, ed.churn().inserted,
           ed.churn().erased);
    printf("bad %d\nchecksum %08x\n", bad, check);
    return bad;
}
