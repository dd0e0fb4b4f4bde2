// Event-driven XML parser with virtual handlers: one handler canonicalises the document, another
// builds a small catalogue from it, and a third one only gathers statistics.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace xml {

class String {
  public:
    String() = default;
    String(const char *s) { append(s, strlen(s)); }
    String(const char *s, size_t n) { append(s, n); }
    String(const String &o) { append(o.data_, o.size_); }
    String(String &&o) noexcept : data_(o.data_), size_(o.size_), capacity_(o.capacity_) {
        o.data_ = nullptr;
        o.size_ = o.capacity_ = 0;
    }
    String &operator=(String o) noexcept {
        swap(o);
        return *this;
    }
    ~String() { free(data_); }

    void swap(String &o) noexcept {
        char *d = data_;
        data_ = o.data_;
        o.data_ = d;
        size_t t = size_;
        size_ = o.size_;
        o.size_ = t;
        t = capacity_;
        capacity_ = o.capacity_;
        o.capacity_ = t;
    }
    String &append(const char *s, size_t n) {
        if (n == 0)
            return *this;
        if (size_ + n + 1 > capacity_) {
            size_t capacity = (size_ + n + 1) * 3 / 2 + 8;
            char *grown = static_cast<char *>(realloc(data_, capacity));
            if (!grown)
                abort();
            data_ = grown;
            capacity_ = capacity;
        }
        memcpy(data_ + size_, s, n);
        size_ += n;
        data_[size_] = '\0';
        return *this;
    }
    String &operator+=(const char *s) { return append(s, strlen(s)); }
    String &operator+=(const String &s) { return append(s.data_, s.size_); }
    String &operator+=(char c) { return append(&c, 1); }
    bool operator==(const String &o) const {
        return size_ == o.size_ && (size_ == 0 || memcmp(data_, o.data_, size_) == 0);
    }
    bool operator!=(const String &o) const { return !(*this == o); }
    bool operator<(const String &o) const { return strcmp(c_str(), o.c_str()) < 0; }
    const char *c_str() const { return data_ ? data_ : ""; }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    void clear() {
        size_ = 0;
        if (data_)
            data_[0] = '\0';
    }
    bool blank() const {
        for (size_t i = 0; i < size_; i++)
            if (!strchr(" \t\r\n", data_[i]))
                return false;
        return true;
    }

  private:
    char *data_ = nullptr;
    size_t size_ = 0, capacity_ = 0;
};

template <typename T> class List {
  public:
    List() = default;
    List(const List &) = delete;
    List &operator=(const List &) = delete;
    ~List() { delete[] items_; }

    T &add() {
        if (size_ == capacity_) {
            capacity_ = capacity_ ? capacity_ * 2 : 4;
            T *grown = new T[capacity_];
            for (size_t i = 0; i < size_; i++)
                grown[i] = static_cast<T &&>(items_[i]);
            delete[] items_;
            items_ = grown;
        }
        items_[size_] = T();
        return items_[size_++];
    }
    void drop() { size_--; }
    void clear() { size_ = 0; }
    size_t size() const { return size_; }
    T &operator[](size_t i) { return items_[i]; }
    const T &operator[](size_t i) const { return items_[i]; }
    T &last() { return items_[size_ - 1]; }

  private:
    T *items_ = nullptr;
    size_t size_ = 0, capacity_ = 0;
};

struct Attribute {
    String name, value;
};

class Attributes : public List<Attribute> {
  public:
    const String *find(const char *name) const {
        for (size_t i = 0; i < size(); i++)
            if ((*this)[i].name == name)
                return &(*this)[i].value;
        return nullptr;
    }
    void sort() {
        for (size_t i = 1; i < size(); i++)
            for (size_t j = i; j > 0 && (*this)[j].name < (*this)[j - 1].name; j--) {
                (*this)[j].name.swap((*this)[j - 1].name);
                (*this)[j].value.swap((*this)[j - 1].value);
            }
    }
};

class Handler {
  public:
    virtual ~Handler() {}
    virtual void start(const String &name, Attributes &attributes) = 0;
    virtual void end(const String &name) = 0;
    virtual void text(const String &) {}
    virtual void comment(const String &) {}
    virtual void instruction(const String &, const String &) {}
};

class Parser {
  public:
    enum Status {
        Ok,
        Eof,
        BadName,
        BadEntity,
        BadAttribute,
        DuplicateAttribute,
        BadMarkup,
        Mismatch,
        Depth
    };

    explicit Parser(Handler &handler) : handler_(handler) {}

    Status parse(const char *text) {
        p_ = text;
        line_ = 1;
        open_.clear();
        text_.clear();
        bool seen_root = false;
        while (*p_) {
            Status s = Ok;
            if (*p_ == '<') {
                if (open_.size() == 0 && seen_root && p_[1] != '!' && p_[1] != '?')
                    return BadMarkup; // a second root element
                s = markup();
                seen_root = seen_root || open_.size() > 0 || closed_root_;
            } else if (*p_ == '&') {
                s = entity(text_);
            } else {
                text_ += take();
            }
            if (s != Ok)
                return s;
            if (open_.size() == 0 && !text_.empty() && !text_.blank())
                return BadMarkup; // text outside of the root
        }
        return open_.size() > 0 || !seen_root ? Eof : Ok;
    }
    int line() const { return line_; }

  private:
    static const size_t kMaxDepth = 32;

    char take() {
        if (*p_ == '\n')
            line_++;
        return *p_++;
    }
    bool accept(const char *token) {
        size_t n = strlen(token);
        if (strncmp(p_, token, n) != 0)
            return false;
        while (n--)
            take();
        return true;
    }
    void skip_space() {
        while (*p_ == ' ' || *p_ == '\t' || *p_ == '\r' || *p_ == '\n')
            take();
    }
    static bool name_char(char c, bool first) {
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' || (c & 0x80))
            return true;
        return !first && ((c >= '0' && c <= '9') || c == '-' || c == '.');
    }
    Status name(String &out) {
        const char *from = p_;
        while (name_char(*p_, p_ == from))
            p_++;
        out = String(from, static_cast<size_t>(p_ - from));
        return p_ == from ? BadName : Ok;
    }
    // Everything up to the terminator, which is consumed as well.
    Status until(const char *terminator, String &out) {
        while (*p_) {
            if (accept(terminator))
                return Ok;
            out += take();
        }
        return Eof;
    }
    static void put_utf8(String &out, uint32_t cp) {
        if (cp < 0x80) {
            out += static_cast<char>(cp);
            return;
        }
        int extra = cp < 0x800 ? 1 : cp < 0x10000 ? 2 : 3;
        static const uint8_t lead[4] = {0, 0xc0, 0xe0, 0xf0};
        out += static_cast<char>(lead[extra] | cp >> (6 * extra));
        while (extra-- > 0)
            out += static_cast<char>(0x80 | (cp >> (6 * extra) & 0x3f));
    }
    Status entity(String &out) {
        static const struct {
            const char *text;
            char value;
        } named[] = {
            {"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&apos;", '\''}};
        for (const auto &e : named)
            if (accept(e.text)) {
                out += e.value;
                return Ok;
            }
        if (!accept("&#"))
            return BadEntity;
        uint32_t base = accept("x") ? 16 : 10, cp = 0;
        int digits = 0;
        for (; *p_ && *p_ != ';' && digits < 8; digits++) {
            char c = take();
            uint32_t d = c >= '0' && c <= '9'   ? static_cast<uint32_t>(c - '0')
                         : c >= 'a' && c <= 'f' ? static_cast<uint32_t>(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? static_cast<uint32_t>(c - 'A' + 10)
                                                : 99u;
            if (d >= base)
                return BadEntity;
            cp = cp * base + d;
        }
        if (digits == 0 || !accept(";") || cp == 0 || cp > 0x10ffff ||
            (cp >= 0xd800 && cp < 0xe000))
            return BadEntity;
        put_utf8(out, cp);
        return Ok;
    }
    void flush_text() {
        if (!text_.empty() && open_.size() > 0)
            handler_.text(text_);
        text_.clear();
    }
    Status markup() {
        if (accept("<![CDATA["))
            return open_.size() ? until("]]>", text_) : BadMarkup;
        flush_text();
        String body;
        if (accept("<!--")) {
            Status s = until("-->", body);
            if (s == Ok)
                handler_.comment(body);
            return s;
        }
        if (accept("<?")) {
            String target;
            Status s = name(target);
            if (s != Ok)
                return s;
            skip_space();
            s = until("?>", body);
            if (s == Ok)
                handler_.instruction(target, body);
            return s;
        }
        if (accept("<!"))
            return BadMarkup;
        if (accept("</"))
            return end_tag();
        take();
        return start_tag();
    }
    Status start_tag() {
        Attributes attributes;
        if (open_.size() == kMaxDepth)
            return Depth;
        String &tag = open_.add();
        Status s = name(tag);
        closed_root_ = false;
        for (;;) {
            if (s != Ok)
                return s;
            const char *before = p_;
            skip_space();
            if (*p_ == '>' || *p_ == '/')
                break;
            if (!*p_)
                return Eof;
            s = before == p_ ? BadMarkup : attribute(attributes);
        }
        bool empty = accept("/");
        if (!accept(">"))
            return BadMarkup;
        handler_.start(tag, attributes);
        if (empty) {
            handler_.end(tag);
            pop();
        }
        return Ok;
    }
    Status attribute(Attributes &attributes) {
        String key;
        Status s = name(key);
        if (s != Ok)
            return s;
        if (attributes.find(key.c_str()))
            return DuplicateAttribute;
        skip_space();
        if (!accept("="))
            return BadAttribute;
        skip_space();
        char quote = *p_;
        if (quote != '"' && quote != '\'')
            return BadAttribute;
        take();
        Attribute &a = attributes.add();
        a.name.swap(key);
        while (*p_ && *p_ != quote) {
            if (*p_ == '<')
                return BadAttribute;
            if (*p_ != '&')
                a.value += take();
            else if ((s = entity(a.value)) != Ok)
                return s;
        }
        if (!*p_)
            return Eof;
        take();
        return Ok;
    }
    Status end_tag() {
        String tag;
        Status s = name(tag);
        if (s != Ok)
            return s;
        skip_space();
        if (!accept(">"))
            return BadMarkup;
        if (open_.size() == 0 || open_.last() != tag)
            return Mismatch;
        handler_.end(tag);
        pop();
        return Ok;
    }
    void pop() {
        open_.drop();
        closed_root_ = open_.size() == 0;
    }

    Handler &handler_;
    const char *p_ = nullptr;
    int line_ = 1;
    bool closed_root_ = false;
    String text_;
    List<String> open_;
};

// Writes a canonical form: sorted attributes, no blank text, no comments, two spaces per level.
class Canonicaliser : public Handler {
  public:
    void start(const String &name, Attributes &attributes) override {
        indent(depth_++);
        attributes.sort();
        out_ += '<';
        out_ += name;
        for (size_t i = 0; i < attributes.size(); i++) {
            out_ += ' ';
            out_ += attributes[i].name;
            out_ += "=\"";
            escape(attributes[i].value);
            out_ += '"';
        }
        out_ += ">\n";
    }
    void end(const String &name) override {
        indent(--depth_);
        out_ += "</";
        out_ += name;
        out_ += ">\n";
    }
    void text(const String &s) override {
        if (s.blank())
            return;
        const char *from = s.c_str(), *to = from + s.size();
        while (strchr(" \t\r\n", *from))
            from++;
        while (strchr(" \t\r\n", to[-1]))
            to--;
        indent(depth_);
        escape(String(from, static_cast<size_t>(to - from)));
        out_ += '\n';
    }
    void instruction(const String &target, const String &body) override {
        if (target == "xml")
            return;
        indent(depth_);
        out_ += "<?";
        out_ += target;
        out_ += ' ';
        out_ += body;
        out_ += "?>\n";
    }
    const String &result() const { return out_; }

  private:
    void indent(int depth) {
        for (int i = 0; i < depth; i++)
            out_ += "  ";
    }
    void escape(const String &s) {
        for (const char *p = s.c_str(); *p; p++) {
            switch (*p) {
            case '<':
                out_ += "&lt;";
                break;
            case '>':
                out_ += "&gt;";
                break;
            case '&':
                out_ += "&amp;";
                break;
            case '"':
                out_ += "&quot;";
                break;
            case '\n':
                out_ += "&#10;";
                break;
            default:
                out_ += *p;
            }
        }
    }
    String out_;
    int depth_ = 0;
};

class Statistics : public Handler {
  public:
    void start(const String &, Attributes &attributes) override {
        elements++;
        attribute_count += attributes.size();
        if (++depth_ > deepest)
            deepest = depth_;
    }
    void end(const String &) override { depth_--; }
    void text(const String &s) override { text_bytes += s.size(); }
    void comment(const String &) override { comments++; }

    size_t elements = 0, attribute_count = 0, text_bytes = 0, comments = 0;
    int deepest = 0;

  private:
    int depth_ = 0;
};

struct Product {
    String id, title;
    long cents = 0;
    int stock = 0;
};

class CatalogueBuilder : public Handler {
  public:
    void start(const String &name, Attributes &attributes) override {
        content_.clear();
        if (name == "product") {
            Product &p = products.add();
            if (const String *id = attributes.find("id"))
                p.id = *id;
            if (const String *stock = attributes.find("stock"))
                p.stock = atoi(stock->c_str());
        }
    }
    void text(const String &s) override { content_ += s; }
    void end(const String &name) override {
        if (products.size() == 0)
            return;
        if (name == "title")
            products.last().title = content_;
        else if (name == "price")
            products.last().cents = parse_cents(content_.c_str());
    }
    List<Product> products;

  private:
    static long parse_cents(const char *s) {
        char *rest;
        long cents = strtol(s, &rest, 10) * 100;
        if (rest[0] == '.' && rest[1] && rest[2])
            cents += (rest[1] - '0') * 10 + (rest[2] - '0');
        return cents;
    }
    String content_;
};

} // namespace xml

static const char kDocument[] =
    "<?xml version=\"1.0\"?>\n"
    "<!-- spring list -->\n"
    "<catalogue season='spring' currency=\"EUR\">\n"
    "  <?render columns=2?>\n"
    "  <product stock=\"12\" id=\"k-100\">\n"
    "    <title>Kettle &amp; stand</title><price>34.90</price>\n"
    "    <note><![CDATA[if (a < b && b > c) return;]]></note>\n"
    "  </product>\n"
    "  <product id='t-7' stock='0'>\n"
    "    <title>Th\xc3\xa9i&#xe8;re &#8220;Lune&#x201d;</title>\n"
    "    <price>120.05</price><!-- sold out --><discontinued/>\n"
    "  </product>\n"
    "  <product id='m&quot;3' note='a&lt;b' stock='400' ><title>Mug</title><price>8.00</price>\n"
    "    <parts><part n=\"1\"/><part n=\"2\"><sub>handle</sub></part></parts></product>\n"
    "</catalogue>\n";

static const char *const kBroken[] = {
    "<a><b></a></b>",
    "<a x='1' x='2'/>",
    "<a>&nbsp;</a>",
    "<a>&#xd800;</a>",
    "<a>\n\n<b>",
    "<1a/>",
    "<a/><b/>",
    "<a b=c/>",
    "text",
    "<a>&#;</a>",
    "<!-- never closed ",
    "<a b='<'/>",
    "<!DOCTYPE a><a/>",
    "<a b='x'c='y'/>",
    "",
    "<a><![CDATA[x]]</a>",
    "<a></a >trailing",
    "<a\n\n  b = 'open",
    "</a>",
    "<a>&#1114112;</a>",
};

static uint32_t crc32(const char *s, uint32_t crc) {
    for (crc = ~crc; *s; s++) {
        crc ^= static_cast<unsigned char>(*s);
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc;
}

int main() {
    xml::Canonicaliser first, second;
    xml::Statistics stats;
    xml::CatalogueBuilder builder;
    xml::Handler *const handlers[] = {&first, &stats, &builder};
    for (xml::Handler *handler : handlers)
        if (xml::Parser(*handler).parse(kDocument) != xml::Parser::Ok)
            return 1;
    // The canonical form is a fixed point.
    if (xml::Parser(second).parse(first.result().c_str()) != xml::Parser::Ok ||
        first.result() != second.result())
        return 2;

    uint32_t checksum = crc32(first.result().c_str(), 0);
    long value = 0;
    for (size_t i = 0; i < builder.products.size(); i++) {
        const xml::Product &p = builder.products[i];
        value += p.cents * p.stock;
        checksum = crc32(p.id.c_str(), crc32(p.title.c_str(), checksum));
    }
    for (const char *text : kBroken) {
        xml::Statistics ignored;
        xml::Parser parser(ignored);
        xml::Parser::Status status = parser.parse(text);
        if (status == xml::Parser::Ok)
            return 3;
        checksum = checksum * 31 + static_cast<uint32_t>(status * 16 + parser.line());
    }
    printf("%zu elements, %zu attributes, depth %d, %zu text bytes, %zu comments\n", stats.elements,
           stats.attribute_count, stats.deepest, stats.text_bytes, stats.comments);
    printf("%zu products worth %ld.%02ld\n", builder.products.size(), value / 100, value % 100);
    printf("checksum %08x\n", static_cast<unsigned>(checksum));
    return 0;
}
