// Small SQL engine over in-memory tables: tokeniser, recursive descent parser, binder, planner
// with predicate push-down and hash joins, and pull-based operators with grouping and sorting.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

namespace sql {

// ---- containers -------------------------------------------------------------------------
//
// Nothing throws: running out of memory ends the program.

template <typename T> class Vec {
  public:
    Vec() = default;
    Vec(const Vec &) = delete;
    Vec(Vec &&o) noexcept : data_(o.data_), size_(o.size_), cap_(o.cap_) { o.forget(); }
    Vec &operator=(const Vec &) = delete;
    Vec &operator=(Vec &&o) noexcept {
        delete[] data_;
        data_ = o.data_, size_ = o.size_, cap_ = o.cap_;
        o.forget();
        return *this;
    }
    ~Vec() { delete[] data_; }

    T &push(T v) noexcept {
        if (size_ == cap_)
            reserve(cap_ ? cap_ * 2 : 4);
        data_[size_] = static_cast<T &&>(v);
        return data_[size_++];
    }
    void resize(size_t n) noexcept {
        reserve(n);
        for (; size_ < n; size_++)
            data_[size_] = T();
        size_ = n;
    }
    void reserve(size_t cap) noexcept {
        if (cap <= cap_)
            return;
        T *bigger = new T[cap];
        for (size_t i = 0; i < size_; i++)
            bigger[i] = static_cast<T &&>(data_[i]);
        delete[] data_;
        data_ = bigger;
        cap_ = cap;
    }
    Vec clone() const noexcept {
        Vec out;
        out.reserve(size_);
        for (const T &v : *this)
            out.push(v);
        return out;
    }
    void clear() noexcept { size_ = 0; }
    size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    T &operator[](size_t i) noexcept { return data_[i]; }
    const T &operator[](size_t i) const noexcept { return data_[i]; }
    T *begin() noexcept { return data_; }
    T *end() noexcept { return data_ + size_; }
    const T *begin() const noexcept { return data_; }
    const T *end() const noexcept { return data_ + size_; }

  private:
    void forget() noexcept {
        data_ = nullptr;
        size_ = cap_ = 0;
    }
    T *data_ = nullptr;
    size_t size_ = 0, cap_ = 0;
};

// Owning pointer.
template <typename T> class Box {
  public:
    Box(T *p = nullptr) noexcept : p_(p) {}
    Box(Box &&o) noexcept : p_(o.release()) {}
    Box &operator=(Box &&o) noexcept {
        T *old = p_;
        p_ = o.release();
        delete old;
        return *this;
    }
    ~Box() { delete p_; }
    T *release() noexcept {
        T *p = p_;
        p_ = nullptr;
        return p;
    }
    T *get() const noexcept { return p_; }
    T *operator->() const noexcept { return p_; }
    explicit operator bool() const noexcept { return p_ != nullptr; }

  private:
    T *p_;
};

template <typename T> T &&take(T &v) noexcept {
    return static_cast<T &&>(v);
}

struct Slice {
    const char *p = "";
    uint32_t n = 0;

    Slice() = default;
    Slice(const char *s) noexcept : p(s), n(uint32_t(strlen(s))) {}
    Slice(const char *s, size_t len) noexcept : p(s), n(uint32_t(len)) {}

    bool same_name(Slice o) const noexcept {
        if (n != o.n)
            return false;
        for (uint32_t i = 0; i < n; i++)
            if (lower(p[i]) != lower(o.p[i]))
                return false;
        return true;
    }
    int compare(Slice o) const noexcept {
        int c = memcmp(p, o.p, n < o.n ? n : o.n);
        return c != 0 ? c : n < o.n ? -1 : n > o.n;
    }
    static char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; }
};

// Keeps statement texts alive as long as the database: names and literals point into them.
class Arena {
  public:
    static const size_t CHUNK = 4096;
    Arena() = default;
    Arena(const Arena &) = delete;
    Arena &operator=(const Arena &) = delete;
    ~Arena() {
        while (head_) {
            Chunk *next = head_->next;
            delete head_;
            head_ = next;
        }
    }
    // n is at most CHUNK.
    char *allocate(size_t n) noexcept {
        if (!head_ || head_->used + n > CHUNK)
            head_ = new Chunk{head_, 0, {0}};
        head_->used += n;
        return head_->bytes + head_->used - n;
    }

  private:
    struct Chunk {
        Chunk *next;
        size_t used;
        char bytes[CHUNK];
    };
    Chunk *head_ = nullptr;
};

class Status {
  public:
    bool ok() const noexcept { return text_[0] == '\0'; }
    const char *text() const { return text_; }
    // Keeps the first error; always returns false so that callers can return it.
    bool fail(const char *format, ...) noexcept {
        if (ok()) {
            va_list ap;
            va_start(ap, format);
            vsnprintf(text_, sizeof text_, format, ap);
            va_end(ap);
        }
        return false;
    }
    bool fail_name(const char *what, Slice name) noexcept {
        return fail("%s %.*s", what, int(name.n), name.p);
    }

  private:
    char text_[80] = "";
};

// ---- values -----------------------------------------------------------------------------

struct Value {
    enum Kind : uint8_t { Null, Int, Text } kind = Null;
    int64_t num = 0;
    Slice text;

    Value() = default;
    explicit Value(int64_t v) noexcept : kind(Int), num(v) {}
    explicit Value(Slice s) noexcept : kind(Text), text(s) {}
    static Value boolean(bool b) noexcept { return Value(int64_t(b)); }

    bool is_null() const noexcept { return kind == Null; }
    bool is_true() const noexcept { return kind == Int && num != 0; }

    // Total order for sorting and grouping: null, then numbers, then text.
    int compare(const Value &o) const noexcept {
        if (kind != o.kind)
            return kind < o.kind ? -1 : 1;
        if (kind == Int)
            return num < o.num ? -1 : num > o.num;
        return kind == Text ? text.compare(o.text) : 0;
    }
    uint32_t hash(uint32_t h) const noexcept {
        h = (h ^ kind) * 0x01000193u;
        if (kind == Int)
            return (h ^ uint32_t(num) ^ uint32_t(uint64_t(num) >> 32)) * 0x85ebca6bu;
        for (uint32_t i = 0; i < text.n; i++)
            h = (h ^ uint8_t(text.p[i])) * 0x01000193u;
        return h;
    }
};

using Row = Vec<Value>;

// Maps composite keys to dense numbers in order of first appearance.
class KeyTable {
  public:
    size_t number(const Row &key, bool *added) noexcept {
        uint32_t h = 2166136261u;
        for (const Value &v : key)
            h = v.hash(h);
        if (2 * (keys_.size() + 1) > slots_.size())
            grow();
        size_t at = find_slot(key, h);
        *added = slots_[at] == 0;
        if (*added) {
            slots_[at] = keys_.size() + 1;
            keys_.push(key.clone());
            hashes_.push(h);
        }
        return slots_[at] - 1;
    }
    // The number of a key, or size() if it was never added.
    size_t lookup(const Value &v) const noexcept {
        if (slots_.empty())
            return 0;
        Row key;
        key.push(v);
        size_t at = slots_[find_slot(key, v.hash(2166136261u))];
        return at ? at - 1 : size();
    }
    size_t size() const noexcept { return keys_.size(); }

  private:
    size_t find_slot(const Row &key, uint32_t h) const {
        size_t mask = slots_.size() - 1, at = h & mask;
        while (slots_[at] != 0) {
            size_t k = slots_[at] - 1;
            if (hashes_[k] == h && equal(keys_[k], key))
                break;
            at = (at + 1) & mask;
        }
        return at;
    }
    static bool equal(const Row &a, const Row &b) {
        for (size_t i = 0; i < a.size(); i++)
            if (a[i].compare(b[i]) != 0)
                return false;
        return true;
    }
    void grow() {
        size_t n = slots_.empty() ? 16 : slots_.size() * 2;
        slots_.clear();
        slots_.resize(n);
        for (size_t k = 0; k < keys_.size(); k++)
            slots_[find_slot(keys_[k], hashes_[k])] = k + 1;
    }
    Vec<size_t> slots_, hashes_;
    Vec<Row> keys_;
};

struct Table {
    struct ColumnDef {
        Slice name;
        Value::Kind type = Value::Int;
    };
    Slice name;
    Vec<ColumnDef> columns;
    Vec<Value> cells;
    Table *next = nullptr;

    size_t width() const noexcept { return columns.size(); }
    size_t rows() const noexcept { return cells.size() / width(); }
    Value &cell(size_t row, size_t col) noexcept { return cells[row * width() + col]; }
    int find(Slice column) const noexcept {
        for (size_t i = 0; i < columns.size(); i++)
            if (columns[i].name.same_name(column))
                return int(i);
        return -1;
    }
};

// ---- expressions ------------------------------------------------------------------------

class Aggregate;
class Column;
class Binary;

// What names mean: table i occupies frame columns [offset, offset + width).
struct Scope {
    struct Source {
        Slice name, alias;
        Table *table = nullptr;
        size_t offset = 0;
    };
    Vec<Source> sources;
    Vec<Aggregate *> aggregates;
    size_t width = 0;
    bool inside_aggregate = false, allow_aggregates = false;
    Status *status = nullptr;

    void attach(Source &s, Table *t) {
        s.table = t;
        s.offset = width;
        width += t->width();
    }
};

class Expr {
  public:
    virtual ~Expr() = default;
    virtual bool bind(Scope &) noexcept { return true; }
    virtual Value eval(const Value *row) const noexcept = 0;
    // Bit set of the sources the expression reads.
    virtual uint32_t reads() const noexcept { return 0; }
    virtual const Column *as_column() const { return nullptr; }
    virtual Binary *as_binary() { return nullptr; }
    virtual const Value *as_literal() const { return nullptr; }
};

using ExprBox = Box<Expr>;

class Literal : public Expr {
  public:
    explicit Literal(const Value &v) noexcept : value_(v) {}
    Value eval(const Value *) const noexcept override { return value_; }
    const Value *as_literal() const override { return &value_; }

  private:
    Value value_;
};

class Column : public Expr {
  public:
    Column(Slice table, Slice name) noexcept : table_(table), name_(name) {}
    bool bind(Scope &scope) noexcept override {
        int hits = 0;
        for (size_t i = 0; i < scope.sources.size(); i++) {
            const Scope::Source &s = scope.sources[i];
            int c = s.table->find(name_);
            if (c < 0 || (table_.n && !table_.same_name(s.alias)))
                continue;
            hits++;
            source_ = unsigned(i);
            index_ = s.offset + size_t(c);
        }
        if (hits == 1)
            return true;
        return scope.status->fail_name(hits ? "ambiguous column" : "no such column", name_);
    }
    Value eval(const Value *row) const noexcept override { return row[index_]; }
    uint32_t reads() const noexcept override { return 1u << source_; }
    const Column *as_column() const override { return this; }
    bool is_bare(Slice name) const noexcept { return table_.n == 0 && name_.same_name(name); }

  private:
    Slice table_, name_;
    unsigned source_ = 0;
    size_t index_ = 0;
};

enum class Op : uint8_t { Or, And, Eq, Ne, Lt, Le, Gt, Ge, Like, Add, Sub, Mul, Div, Mod };

// % matches any run, _ any single character.
static bool like(Slice s, Slice pattern) noexcept {
    uint32_t i = 0, j = 0, star = UINT32_MAX, retry = 0;
    while (i < s.n) {
        if (j < pattern.n && pattern.p[j] == '%') {
            star = j++;
            retry = i;
        } else if (j < pattern.n && (pattern.p[j] == '_' || pattern.p[j] == s.p[i])) {
            i++;
            j++;
        } else if (star != UINT32_MAX) {
            j = star + 1;
            i = ++retry;
        } else {
            return false;
        }
    }
    while (j < pattern.n && pattern.p[j] == '%')
        j++;
    return j == pattern.n;
}

class Binary : public Expr {
  public:
    Binary(Op op, ExprBox l, ExprBox r) noexcept : op_(op), left_(take(l)), right_(take(r)) {}

    bool bind(Scope &scope) noexcept override { return left_->bind(scope) && right_->bind(scope); }
    uint32_t reads() const noexcept override { return left_->reads() | right_->reads(); }
    Binary *as_binary() override { return this; }
    Op op() const { return op_; }
    ExprBox &left() { return left_; }
    ExprBox &right() { return right_; }

    Value eval(const Value *row) const noexcept override {
        Value l = left_->eval(row);
        if (op_ == Op::And || op_ == Op::Or) {
            // Three valued logic: one decisive operand beats null.
            bool decisive = op_ == Op::Or;
            if (!l.is_null() && l.is_true() == decisive)
                return Value::boolean(decisive);
            Value r = right_->eval(row);
            if (!r.is_null() && r.is_true() == decisive)
                return Value::boolean(decisive);
            return l.is_null() || r.is_null() ? Value() : Value::boolean(!decisive);
        }
        Value r = right_->eval(row);
        if (l.is_null() || r.is_null())
            return Value();
        switch (op_) {
        case Op::Eq:
            return Value::boolean(l.compare(r) == 0);
        case Op::Ne:
            return Value::boolean(l.compare(r) != 0);
        case Op::Lt:
            return Value::boolean(l.compare(r) < 0);
        case Op::Le:
            return Value::boolean(l.compare(r) <= 0);
        case Op::Gt:
            return Value::boolean(l.compare(r) > 0);
        case Op::Ge:
            return Value::boolean(l.compare(r) >= 0);
        case Op::Like:
            return Value::boolean(l.kind == Value::Text && r.kind == Value::Text &&
                                  like(l.text, r.text));
        default:
            return l.kind == Value::Int && r.kind == Value::Int ? arithmetic(l.num, r.num)
                                                                : Value();
        }
    }

  private:
    Value arithmetic(int64_t a, int64_t b) const noexcept {
        uint64_t x = uint64_t(a), y = uint64_t(b);
        switch (op_) {
        case Op::Add:
            return Value(int64_t(x + y));
        case Op::Sub:
            return Value(int64_t(x - y));
        case Op::Mul:
            return Value(int64_t(x * y));
        case Op::Div:
            return b == 0 ? Value() : b == -1 ? Value(int64_t(0 - x)) : Value(a / b);
        case Op::Mod:
            return b == 0 ? Value() : Value(b == -1 ? 0 : a % b);
        default:
            return Value();
        }
    }
    Op op_;
    ExprBox left_, right_;
};

class Not : public Expr {
  public:
    explicit Not(ExprBox e) noexcept : operand_(take(e)) {}
    bool bind(Scope &scope) noexcept override { return operand_->bind(scope); }
    uint32_t reads() const noexcept override { return operand_->reads(); }
    Value eval(const Value *row) const noexcept override {
        Value v = operand_->eval(row);
        return v.is_null() ? v : Value::boolean(!v.is_true());
    }

  private:
    ExprBox operand_;
};

class IsNull : public Expr {
  public:
    IsNull(ExprBox e, bool negated) noexcept : operand_(take(e)), negated_(negated) {}
    bool bind(Scope &scope) noexcept override { return operand_->bind(scope); }
    uint32_t reads() const noexcept override { return operand_->reads(); }
    Value eval(const Value *row) const noexcept override {
        return Value::boolean(operand_->eval(row).is_null() != negated_);
    }

  private:
    ExprBox operand_;
    bool negated_;
};

class InList : public Expr {
  public:
    explicit InList(Vec<ExprBox> args) noexcept : args_(take(args)) {} // the needle comes first
    bool bind(Scope &scope) noexcept override {
        for (ExprBox &e : args_)
            if (!e->bind(scope))
                return false;
        return true;
    }
    uint32_t reads() const noexcept override {
        uint32_t set = 0;
        for (const ExprBox &e : args_)
            set |= e->reads();
        return set;
    }
    Value eval(const Value *row) const noexcept override {
        Value needle = args_[0]->eval(row);
        bool saw_null = needle.is_null();
        for (size_t i = 1; i < args_.size(); i++) {
            Value v = args_[i]->eval(row);
            if (v.is_null())
                saw_null = true;
            else if (!needle.is_null() && v.compare(needle) == 0)
                return Value::boolean(true);
        }
        return saw_null ? Value() : Value::boolean(false);
    }

  private:
    Vec<ExprBox> args_;
};

// Evaluates to a frame column that the grouping operator fills in.
class Aggregate : public Expr {
  public:
    enum Kind : uint8_t { Count, Sum, Min, Max, Avg };
    struct State {
        int64_t count = 0;
        uint64_t sum = 0;
        Value best;
    };
    Aggregate(Kind kind, ExprBox arg) noexcept : kind_(kind), arg_(take(arg)) {}

    bool bind(Scope &scope) noexcept override {
        if (!scope.allow_aggregates || scope.inside_aggregate)
            return scope.status->fail("misplaced aggregate");
        scope.inside_aggregate = true;
        bool ok = !arg_ || arg_->bind(scope);
        scope.inside_aggregate = false;
        slot_ = scope.width + scope.aggregates.size();
        scope.aggregates.push(this);
        return ok;
    }
    Value eval(const Value *row) const noexcept override { return row[slot_]; }
    uint32_t reads() const noexcept override { return ~0u; }
    size_t slot() const noexcept { return slot_; }

    void accumulate(State &s, const Value *row) const noexcept {
        Value v = arg_ ? arg_->eval(row) : Value(int64_t(1));
        if (v.is_null())
            return;
        s.sum += uint64_t(v.num);
        int c = s.count++ ? v.compare(s.best) : 0;
        if (s.count == 1 || (kind_ == Min && c < 0) || (kind_ == Max && c > 0))
            s.best = v;
    }
    Value result(const State &s) const noexcept {
        if (kind_ == Count)
            return Value(s.count);
        if (s.count == 0)
            return Value();
        switch (kind_) {
        case Sum:
            return Value(int64_t(s.sum));
        case Avg:
            return Value(int64_t(s.sum) / s.count);
        default:
            return s.best;
        }
    }
    static bool parse_kind(Slice name, Kind *kind) {
        static const char *const names[] = {"count", "sum", "min", "max", "avg"};
        for (int i = 0; i < 5; i++)
            if (name.same_name(names[i])) {
                *kind = Kind(i);
                return true;
            }
        return false;
    }

  private:
    Kind kind_;
    ExprBox arg_;
    size_t slot_ = 0;
};

// ---- tokens -----------------------------------------------------------------------------

struct Token {
    enum Kind : uint8_t { End, Name, Number, String, Symbol, Bad } kind = End;
    Slice text;
    int64_t number = 0;
};

class Lexer {
  public:
    explicit Lexer(const char *s) noexcept : p_(s) { advance(); }
    const Token &peek() const noexcept { return token_; }

    void advance() noexcept {
        while (*p_ == ' ' || *p_ == '\n' || *p_ == '\t')
            p_++;
        const char *start = p_;
        token_.kind = Token::End;
        if (is_letter(*p_)) {
            while (is_letter(*p_) || is_digit(*p_))
                p_++;
            token_.kind = Token::Name;
        } else if (is_digit(*p_)) {
            token_.kind = Token::Number;
            for (token_.number = 0; is_digit(*p_); p_++) {
                if (token_.number > INT64_MAX / 10 - 1)
                    token_.kind = Token::Bad;
                else
                    token_.number = token_.number * 10 + (*p_ - '0');
            }
        } else if (*p_ == '\'') {
            for (p_++; *p_ && *p_ != '\'';)
                p_++;
            token_.kind = *p_ ? Token::String : Token::Bad;
            token_.text = Slice(start + 1, size_t(p_ - start - 1));
            p_ += *p_ != '\0';
            return;
        } else if (*p_) {
            static const char pairs[][3] = {"<=", ">=", "<>", "!="};
            size_t len = 1;
            for (const char *pair : pairs)
                if (p_[0] == pair[0] && p_[1] == pair[1])
                    len = 2;
            p_ += len;
            token_.kind = Token::Symbol;
        }
        token_.text = Slice(start, size_t(p_ - start));
    }

  private:
    static bool is_letter(char c) noexcept {
        return ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_';
    }
    static bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
    const char *p_;
    Token token_;
};

// ---- statements -------------------------------------------------------------------------

struct Select {
    struct Term { // an output or a sort key
        ExprBox expr;
        Slice alias;
        bool descending = false;
        const Expr *resolved = nullptr;
    };
    bool distinct = false, star = false;
    Vec<Term> outputs;
    Scope scope;
    Vec<ExprBox> conjuncts; // WHERE and ON
    Vec<ExprBox> group;
    ExprBox having;
    Vec<Term> order;
    int64_t limit = -1, offset = 0;
};

class Parser {
  public:
    Parser(const char *text, Status &status) noexcept : lex_(text), status_(status) {}

    bool accept(const char *word) noexcept {
        const Token &t = lex_.peek();
        if ((t.kind != Token::Name && t.kind != Token::Symbol) || !t.text.same_name(word))
            return false;
        lex_.advance();
        return true;
    }
    bool expect(const char *word) noexcept {
        if (accept(word))
            return true;
        const Token &t = lex_.peek();
        return status_.fail("expected %s near '%.*s'", word, int(t.text.n), t.text.p);
    }
    bool finish() noexcept {
        accept(";");
        return lex_.peek().kind == Token::End || status_.fail("trailing input");
    }
    Slice name() noexcept {
        Token t = lex_.peek();
        if (t.kind != Token::Name || is_reserved(t.text)) {
            status_.fail("expected a name near '%.*s'", int(t.text.n), t.text.p);
            return Slice();
        }
        lex_.advance();
        return t.text;
    }
    ExprBox expression(int min_level = 1) noexcept {
        Depth guard(depth_);
        if (depth_ > 40) {
            status_.fail("expression too deep");
            return new Literal(Value());
        }
        ExprBox left = unary();
        for (;;) {
            const BinaryOp *op = binary_op();
            if (op && op->level >= min_level) {
                lex_.advance();
                left = new Binary(op->op, take(left), expression(op->level + 1));
            } else if (!op && min_level <= COMPARISON && postfix(left)) {
                continue;
            } else {
                return left;
            }
        }
    }
    bool select(Select &q) noexcept {
        q.distinct = accept("distinct");
        q.star = accept("*");
        if (!q.star) {
            do {
                Select::Term out;
                out.expr = expression();
                if (accept("as"))
                    out.alias = name();
                q.outputs.push(take(out));
            } while (accept(","));
        }
        if (!expect("from"))
            return false;
        source(q);
        for (;;) {
            if (accept(",")) {
                source(q);
            } else if (accept("join")) {
                source(q);
                expect("on");
                split_conjuncts(expression(), q.conjuncts);
            } else {
                break;
            }
        }
        if (accept("where"))
            split_conjuncts(expression(), q.conjuncts);
        if (accept("group") && expect("by")) {
            do
                q.group.push(expression());
            while (accept(","));
        }
        if (accept("having"))
            q.having = expression();
        if (accept("order") && expect("by")) {
            do {
                Select::Term key;
                key.expr = expression();
                key.descending = accept("desc");
                if (!key.descending)
                    accept("asc");
                q.order.push(take(key));
            } while (accept(","));
        }
        if (accept("limit")) {
            q.limit = integer();
            if (accept("offset"))
                q.offset = integer();
        }
        if (q.scope.sources.size() > 31)
            status_.fail("query too large");
        return finish() && status_.ok();
    }
    void split_conjuncts(ExprBox e, Vec<ExprBox> &out) noexcept {
        Binary *b = e->as_binary();
        if (b && b->op() == Op::And) {
            split_conjuncts(take(b->left()), out);
            split_conjuncts(take(b->right()), out);
        } else {
            out.push(take(e));
        }
    }

  private:
    struct BinaryOp {
        const char *text;
        Op op;
        int level;
    };
    struct Depth {
        explicit Depth(int &d) : d_(d) { d_++; }
        ~Depth() { d_--; }
        int &d_;
    };
    static const int COMPARISON = 4;

    static bool is_reserved(Slice s) {
        static const char *const words[] = {"select", "from",  "where", "group", "by",  "having",
                                            "order",  "limit", "join",  "on",    "and", "or",
                                            "not",    "in",    "is",    "null",  "as",  "set"};
        for (const char *w : words)
            if (s.same_name(w))
                return true;
        return false;
    }
    const BinaryOp *binary_op() const {
        static const BinaryOp table[] = {
            {"or", Op::Or, 1}, {"and", Op::And, 2}, {"=", Op::Eq, 4},      {"<>", Op::Ne, 4},
            {"!=", Op::Ne, 4}, {"<", Op::Lt, 4},    {"<=", Op::Le, 4},     {">", Op::Gt, 4},
            {">=", Op::Ge, 4}, {"+", Op::Add, 5},   {"-", Op::Sub, 5},     {"*", Op::Mul, 6},
            {"/", Op::Div, 6}, {"%", Op::Mod, 6},   {"like", Op::Like, 4},
        };
        const Token &t = lex_.peek();
        if (t.kind == Token::Name || t.kind == Token::Symbol)
            for (const BinaryOp &op : table)
                if (t.text.same_name(op.text))
                    return &op;
        return nullptr;
    }
    // IS [NOT] NULL, [NOT] IN (...); BETWEEN is left out on purpose, its AND reads badly.
    bool postfix(ExprBox &left) noexcept {
        if (accept("is")) {
            bool negated = accept("not");
            expect("null");
            left = new IsNull(take(left), negated);
            return true;
        }
        bool negated = accept("not");
        if (!accept("in"))
            return negated && status_.fail("expected IN after NOT");
        Vec<ExprBox> items;
        items.push(take(left));
        if (expect("("))
            arguments(items);
        left = new InList(take(items));
        if (negated)
            left = new Not(take(left));
        return true;
    }
    void arguments(Vec<ExprBox> &out) noexcept {
        do
            out.push(expression());
        while (accept(","));
        expect(")");
    }
    ExprBox unary() noexcept {
        if (accept("not"))
            return new Not(expression(3));
        if (accept("-"))
            return new Binary(Op::Sub, ExprBox(new Literal(Value(int64_t(0)))), expression(7));
        return primary();
    }
    ExprBox primary() noexcept {
        Token t = lex_.peek();
        if (t.kind == Token::Number || t.kind == Token::String) {
            lex_.advance();
            return new Literal(t.kind == Token::Number ? Value(t.number) : Value(t.text));
        }
        if (accept("null"))
            return new Literal(Value());
        if (accept("(")) {
            ExprBox e = expression();
            expect(")");
            return e;
        }
        Slice first = name();
        if (accept("("))
            return call(first);
        if (accept("."))
            return new Column(first, name());
        return new Column(Slice(), first);
    }
    ExprBox call(Slice fn) noexcept {
        Aggregate::Kind kind;
        if (Aggregate::parse_kind(fn, &kind)) {
            ExprBox arg;
            if (!(kind == Aggregate::Count && accept("*")))
                arg = expression();
            expect(")");
            return new Aggregate(kind, take(arg));
        }
        status_.fail_name("no such function", fn);
        return new Literal(Value());
    }
    void source(Select &q) noexcept {
        Scope::Source s;
        s.name = s.alias = name();
        if (accept("as"))
            s.alias = name();
        q.scope.sources.push(s);
    }
    int64_t integer() noexcept {
        Token t = lex_.peek();
        if (t.kind != Token::Number) {
            status_.fail("expected a number");
            return 0;
        }
        lex_.advance();
        return t.number;
    }

    Lexer lex_;
    Status &status_;
    int depth_ = 0;
};

// ---- operators --------------------------------------------------------------------------

class TextSink {
  public:
    void put(Slice s) noexcept {
        for (uint32_t i = 0; i < s.n && len_ + 1 < sizeof text_; i++)
            text_[len_++] = s.p[i];
        text_[len_] = '\0';
    }
    void put(const Value &v) noexcept {
        char digits[24];
        switch (v.kind) {
        case Value::Null:
            put("null");
            break;
        case Value::Int:
            snprintf(digits, sizeof digits, "%lld", (long long)v.num);
            put(digits);
            break;
        case Value::Text:
            put(v.text);
            break;
        }
    }
    const char *text() const { return text_; }

  private:
    char text_[4096] = "";
    size_t len_ = 0;
};

// Operators share one frame; next() advances and leaves the current row in it.
class Operator {
  public:
    virtual ~Operator() = default;
    virtual void open() noexcept = 0;
    virtual bool next() noexcept = 0;
    virtual void explain(TextSink &out) const noexcept = 0;
};

struct Frame {
    Row row;
    bool passes(const Vec<ExprBox> &predicates) const noexcept {
        for (const ExprBox &p : predicates)
            if (!p->eval(row.begin()).is_true())
                return false;
        return true;
    }
};

class Scan : public Operator {
  public:
    Scan(Frame &frame, const Scope::Source &s) noexcept : frame_(frame), source_(s) {}
    void filter(ExprBox e) noexcept { predicates_.push(take(e)); }
    void open() noexcept override { at_ = 0; }
    bool next() noexcept override {
        while (at_ < source_.table->rows()) {
            load(at_++);
            if (frame_.passes(predicates_))
                return true;
        }
        return false;
    }
    void load(size_t row) noexcept {
        for (size_t c = 0; c < source_.table->width(); c++)
            frame_.row[source_.offset + c] = source_.table->cell(row, c);
    }
    size_t position() const noexcept { return at_ - 1; }
    void explain(TextSink &out) const noexcept override {
        out.put(predicates_.empty() ? "scan " : "filtered scan ");
        out.put(source_.table->name);
    }

  private:
    Frame &frame_;
    Scope::Source source_;
    Vec<ExprBox> predicates_;
    size_t at_ = 0;
};

class NestedLoop : public Operator {
  public:
    NestedLoop(Box<Operator> outer, Box<Scan> inner) noexcept
        : outer_(take(outer)), inner_(take(inner)) {}
    void open() noexcept override {
        outer_->open();
        have_outer_ = false;
    }
    bool next() noexcept override {
        for (;;) {
            if (!have_outer_) {
                if (!outer_->next())
                    return false;
                have_outer_ = true;
                inner_->open();
            }
            if (inner_->next())
                return true;
            have_outer_ = false;
        }
    }
    void explain(TextSink &out) const noexcept override {
        outer_->explain(out);
        out.put(" > loop ");
        inner_->explain(out);
    }

  private:
    Box<Operator> outer_;
    Box<Scan> inner_;
    bool have_outer_ = false;
};

// Builds on the scanned side; rows with equal keys are chained by row number.
class HashJoin : public Operator {
  public:
    HashJoin(Frame &frame, Box<Operator> probe, Box<Scan> build, ExprBox probe_key,
             ExprBox build_key) noexcept
        : frame_(frame), probe_(take(probe)), build_(take(build)), probe_key_(take(probe_key)),
          build_key_(take(build_key)) {}

    void open() noexcept override {
        probe_->open();
        build_->open();
        cursor_ = NONE;
        while (build_->next()) {
            Row key;
            bool added;
            if (key.push(build_key_->eval(frame_.row.begin())).is_null())
                continue;
            size_t k = keys_.number(key, &added);
            if (added) {
                first_.push(row_.size());
                last_.push(row_.size());
            } else {
                next_[last_[k]] = row_.size();
                last_[k] = row_.size();
            }
            row_.push(build_->position());
            next_.push(NONE);
        }
    }
    bool next() noexcept override {
        while (cursor_ == NONE) {
            if (!probe_->next())
                return false;
            Value key = probe_key_->eval(frame_.row.begin());
            size_t k = key.is_null() ? keys_.size() : keys_.lookup(key);
            if (k < keys_.size())
                cursor_ = first_[k];
        }
        build_->load(row_[cursor_]);
        cursor_ = next_[cursor_];
        return true;
    }
    void explain(TextSink &out) const noexcept override {
        probe_->explain(out);
        out.put(" > hash ");
        build_->explain(out);
    }

  private:
    static const size_t NONE = SIZE_MAX;
    Frame &frame_;
    Box<Operator> probe_;
    Box<Scan> build_;
    ExprBox probe_key_, build_key_;
    KeyTable keys_;
    Vec<size_t> first_, last_; // per key, into the two below
    Vec<size_t> row_, next_;
    size_t cursor_ = NONE;
};

class Filter : public Operator {
  public:
    Filter(Frame &frame, Box<Operator> child) noexcept : frame_(frame), child_(take(child)) {}
    void add(ExprBox e) noexcept { predicates_.push(take(e)); }
    void open() noexcept override { child_->open(); }
    bool next() noexcept override {
        while (child_->next())
            if (frame_.passes(predicates_))
                return true;
        return false;
    }
    void explain(TextSink &out) const noexcept override {
        child_->explain(out);
        out.put(" > filter");
    }

  private:
    Frame &frame_;
    Box<Operator> child_;
    Vec<ExprBox> predicates_;
};

class GroupBy : public Operator {
  public:
    GroupBy(Frame &frame, Box<Operator> child, const Vec<ExprBox> &keys,
            const Vec<Aggregate *> &aggregates) noexcept
        : frame_(frame), child_(take(child)), keys_(keys), aggregates_(aggregates) {}

    void open() noexcept override {
        KeyTable table;
        child_->open();
        if (keys_.empty())
            add_group();
        while (child_->next()) {
            Row key;
            bool added = false;
            for (const ExprBox &e : keys_)
                key.push(e->eval(frame_.row.begin()));
            size_t g = keys_.empty() ? 0 : table.number(key, &added);
            if (added)
                add_group();
            for (size_t i = 0; i < aggregates_.size(); i++)
                aggregates_[i]->accumulate(states_[g * aggregates_.size() + i], frame_.row.begin());
        }
        at_ = 0;
    }
    bool next() noexcept override {
        if (at_ == samples_.size())
            return false;
        frame_.row = samples_[at_].clone();
        for (size_t i = 0; i < aggregates_.size(); i++)
            frame_.row[aggregates_[i]->slot()] =
                aggregates_[i]->result(states_[at_ * aggregates_.size() + i]);
        at_++;
        return true;
    }
    void explain(TextSink &out) const noexcept override {
        child_->explain(out);
        out.put(" > group");
    }

  private:
    void add_group() {
        samples_.push(frame_.row.clone());
        states_.resize(states_.size() + aggregates_.size());
    }
    Frame &frame_;
    Box<Operator> child_;
    const Vec<ExprBox> &keys_;
    const Vec<Aggregate *> &aggregates_;
    Vec<Row> samples_; // the frame when the group first appeared
    Vec<Aggregate::State> states_;
    size_t at_ = 0;
};

class Sort : public Operator {
  public:
    Sort(Frame &frame, Box<Operator> child, const Vec<Select::Term> &order) noexcept
        : frame_(frame), child_(take(child)), order_(order) {}
    void open() noexcept override {
        child_->open();
        while (child_->next()) {
            ranks_.push(keys_.size());
            Row &key = keys_.push(Row());
            for (const Select::Term &k : order_)
                key.push(k.resolved->eval(frame_.row.begin()));
            rows_.push(frame_.row.clone());
        }
        Vec<size_t> scratch;
        scratch.resize(ranks_.size());
        merge_sort(0, ranks_.size(), scratch);
        at_ = 0;
    }
    bool next() noexcept override {
        if (at_ == ranks_.size())
            return false;
        frame_.row = rows_[ranks_[at_++]].clone();
        return true;
    }
    void explain(TextSink &out) const noexcept override {
        child_->explain(out);
        out.put(" > sort");
    }

  private:
    bool after(size_t a, size_t b) const {
        for (size_t i = 0; i < order_.size(); i++) {
            int c = keys_[a][i].compare(keys_[b][i]);
            if (c != 0)
                return order_[i].descending ? c < 0 : c > 0;
        }
        return false;
    }
    void merge_sort(size_t lo, size_t hi, Vec<size_t> &scratch) {
        if (hi - lo < 2)
            return;
        size_t mid = (lo + hi) / 2, l = lo, r = mid;
        merge_sort(lo, mid, scratch);
        merge_sort(mid, hi, scratch);
        for (size_t i = lo; i < hi; i++) {
            bool from_right = l == mid || (r < hi && after(ranks_[l], ranks_[r]));
            scratch[i] = ranks_[from_right ? r++ : l++];
        }
        for (size_t i = lo; i < hi; i++)
            ranks_[i] = scratch[i];
    }
    Frame &frame_;
    Box<Operator> child_;
    const Vec<Select::Term> &order_;
    Vec<Row> keys_, rows_;
    Vec<size_t> ranks_;
    size_t at_ = 0;
};

// ---- planner ----------------------------------------------------------------------------

class Plan {
  public:
    Plan(Select &q, Scope &scope) noexcept : query_(q), scope_(scope) {
        frame_.row.resize(scope.width + scope.aggregates.size());
        build();
    }
    Plan(const Plan &) = delete;
    Plan &operator=(const Plan &) = delete;

    void run(TextSink &out, size_t *rows) noexcept {
        KeyTable seen;
        int64_t skip = query_.offset;
        *rows = 0;
        root_->open();
        while ((query_.limit < 0 || int64_t(*rows) < query_.limit) && root_->next()) {
            Row values;
            bool added = true;
            for (const Select::Term &o : query_.outputs)
                values.push(o.expr->eval(frame_.row.begin()));
            if (query_.distinct)
                seen.number(values, &added);
            if (!added || skip-- > 0)
                continue;
            for (size_t i = 0; i < values.size(); i++) {
                if (i)
                    out.put("|");
                out.put(values[i]);
            }
            out.put(";");
            ++*rows;
        }
    }
    void explain(TextSink &out) const { root_->explain(out); }

  private:
    void build() noexcept {
        uint32_t joined = 0;
        for (size_t i = 0; i < scope_.sources.size(); i++) {
            uint32_t self = 1u << i;
            Box<Scan> scan(new Scan(frame_, scope_.sources[i]));
            for (size_t c = 0; c < query_.conjuncts.size(); c++)
                if (ready(c, self))
                    scan->filter(take(query_.conjuncts[c]));
            if (root_)
                join(take(scan), joined, self);
            else
                root_ = scan.release();
            joined |= self;
            add_filters(joined);
        }
        if (!query_.group.empty() || !scope_.aggregates.empty())
            root_ = new GroupBy(frame_, take(root_), query_.group, scope_.aggregates);
        if (query_.having) {
            Filter *f = new Filter(frame_, take(root_));
            f->add(take(query_.having));
            root_ = f;
        }
        if (!query_.order.empty())
            root_ = new Sort(frame_, take(root_), query_.order);
    }
    // True for a conjunct that is not placed yet and reads nothing outside the set.
    bool ready(size_t c, uint32_t set) const noexcept {
        const ExprBox &e = query_.conjuncts[c];
        return e && (e->reads() & ~set) == 0;
    }
    void join(Box<Scan> scan, uint32_t joined, uint32_t self) noexcept {
        for (size_t c = 0; c < query_.conjuncts.size(); c++) {
            ExprBox &e = query_.conjuncts[c];
            Binary *b = e ? e->as_binary() : nullptr;
            if (!b || b->op() != Op::Eq)
                continue;
            bool swapped = b->left()->reads() == self;
            ExprBox &probe = swapped ? b->right() : b->left();
            ExprBox &build = swapped ? b->left() : b->right();
            if (build->reads() != self || probe->reads() == 0 || (probe->reads() & ~joined))
                continue;
            root_ = new HashJoin(frame_, take(root_), take(scan), take(probe), take(build));
            e = nullptr;
            return;
        }
        root_ = new NestedLoop(take(root_), take(scan));
    }
    void add_filters(uint32_t joined) noexcept {
        Filter *f = nullptr;
        for (size_t c = 0; c < query_.conjuncts.size(); c++) {
            if (!ready(c, joined))
                continue;
            if (!f)
                root_ = f = new Filter(frame_, take(root_));
            f->add(take(query_.conjuncts[c]));
        }
    }

    Select &query_;
    Scope &scope_;
    Frame frame_;
    Box<Operator> root_;
};

// ---- database ---------------------------------------------------------------------------

class Database {
  public:
    struct Result {
        Status status;
        TextSink text;
        size_t rows = 0;
    };

    Database() = default;
    Database(const Database &) = delete;
    Database &operator=(const Database &) = delete;
    ~Database() {
        while (tables_) {
            Table *next = tables_->next;
            delete tables_;
            tables_ = next;
        }
    }

    bool execute(const char *statement, Result &res) noexcept {
        size_t size = strlen(statement) + 1;
        if (size > Arena::CHUNK)
            return res.status.fail("statement too long");
        char *text = arena_.allocate(size);
        memcpy(text, statement, size);
        Parser p(text, res.status);
        bool explain = p.accept("explain");
        if (p.accept("select"))
            return select(p, res, explain);
        if (p.accept("create"))
            return create(p, res);
        if (p.accept("insert"))
            return insert(p, res);
        return res.status.fail("unknown statement");
    }

  private:
    Table *find(Slice name, Status &status) noexcept {
        for (Table *t = tables_; t; t = t->next)
            if (t->name.same_name(name))
                return t;
        status.fail_name("no such table", name);
        return nullptr;
    }

    bool create(Parser &p, Result &res) noexcept {
        p.expect("table");
        Box<Table> t(new Table);
        t->name = p.name();
        p.expect("(");
        do {
            Table::ColumnDef def;
            def.name = p.name();
            if (p.accept("text"))
                def.type = Value::Text;
            else
                p.expect("int");
            t->columns.push(def);
        } while (p.accept(","));
        p.expect(")");
        if (!p.finish() || !res.status.ok())
            return false;
        t->next = tables_;
        tables_ = t.release();
        return true;
    }

    bool insert(Parser &p, Result &res) noexcept {
        p.expect("into");
        Table *t = find(p.name(), res.status);
        if (!t || !p.expect("values"))
            return false;
        Row pending;
        do {
            p.expect("(");
            for (size_t c = 0; c < t->width(); c++) {
                if (c)
                    p.expect(",");
                ExprBox e = p.expression();
                Scope nothing;
                nothing.status = &res.status;
                if (!e->bind(nothing))
                    return false;
                Value v = e->eval(nullptr);
                if (!v.is_null() && v.kind != t->columns[c].type)
                    return res.status.fail_name("wrong type for", t->columns[c].name);
                pending.push(v);
            }
            p.expect(")");
            res.rows++;
        } while (p.accept(","));
        if (!p.finish() || !res.status.ok())
            return false;
        for (const Value &v : pending)
            t->cells.push(v);
        return true;
    }

    bool select(Parser &p, Result &res, bool explain) noexcept {
        Select q;
        Scope &scope = q.scope;
        scope.status = &res.status;
        if (!p.select(q))
            return false;
        for (Scope::Source &s : scope.sources) {
            Table *t = find(s.name, res.status);
            if (!t)
                return false;
            scope.attach(s, t);
            for (const Table::ColumnDef &def : t->columns) {
                if (!q.star)
                    break;
                Select::Term each;
                each.expr = new Column(s.alias, def.name);
                q.outputs.push(take(each));
            }
        }
        if (!bind(q, scope))
            return false;
        Plan plan(q, scope);
        if (explain)
            plan.explain(res.text);
        else
            plan.run(res.text, &res.rows);
        return true;
    }

    static bool bind_all(Vec<ExprBox> &list, Scope &scope) noexcept {
        for (ExprBox &e : list)
            if (!e->bind(scope))
                return false;
        return true;
    }

    static bool bind(Select &q, Scope &scope) noexcept {
        if (!bind_all(q.conjuncts, scope) || !bind_all(q.group, scope))
            return false;
        scope.allow_aggregates = true;
        for (Select::Term &o : q.outputs)
            if (!o.expr->bind(scope))
                return false;
        if (q.having && !q.having->bind(scope))
            return false;
        for (Select::Term &k : q.order)
            if (!resolve(k, q, scope))
                return false;
        return true;
    }

    // A sort key is an output number, an output alias or any expression.
    static bool resolve(Select::Term &k, const Select &q, Scope &scope) noexcept {
        if (const Value *v = k.expr->as_literal()) {
            if (v->kind != Value::Int || v->num < 1 || uint64_t(v->num) > q.outputs.size())
                return scope.status->fail("bad sort position");
            k.resolved = q.outputs[size_t(v->num - 1)].expr.get();
            return true;
        }
        if (const Column *c = k.expr->as_column())
            for (const Select::Term &o : q.outputs)
                if (o.alias.n && c->is_bare(o.alias)) {
                    k.resolved = o.expr.get();
                    return true;
                }
        k.resolved = k.expr.get();
        return k.expr->bind(scope);
    }

    Arena arena_;
    Table *tables_ = nullptr;
};

} // namespace sql

// ---- driver -----------------------------------------------------------------------------

struct Case {
    const char *sql;
    const char *expected;
};

static const Case cases[] = {
    {"create table dept (id int, name text, floor int)", ""},
    {"create table emp (id int, name text, dept int, pay int, boss int)", ""},
    {"insert into dept values (1, 'tools', 3), (2, 'sales', 1), (3, 'empty', null)", ""},
    {"insert into emp values (1, 'ada', 1, 900, null), (2, 'bob', 2, 400, 1), "
     "(3, 'cy', 2, 350 + 100, 1), (4, 'di', 1, 700, 1), (5, 'ed', null, 100, 2)",
     ""},
    {"select name, pay * 12 as yearly from emp where pay >= 400 and not dept = 2 order by yearly",
     "di|8400;ada|10800;"},
    {"select d.name, count(*), sum(e.pay), avg(e.pay), min(e.name) from emp as e join dept as d "
     "on d.id = e.dept group by d.name order by 3 desc",
     "tools|2|1600|800|ada;sales|2|850|425|bob;"},
    {"select w.name, b.name from emp as w, emp as b where w.boss = b.id and w.pay > 400",
     "cy|ada;di|ada;"},
    {"explain select e.name from emp as e, dept as d where e.dept = d.id and d.floor > 1 and "
     "e.pay + d.floor > 10 order by 1",
     "scan emp > hash filtered scan dept > filter > sort"},
    {"explain select count(*) from emp as a, emp as b where a.pay < b.pay",
     "scan emp > loop scan emp > filter > group"},
    {"select count(*) from emp as a, emp as b where a.pay < b.pay", "10;"},
    {"select count(*), max(pay), count(boss) from emp where pay > 5000", "0|null|0;"},
    {"select distinct dept from emp order by dept desc", "2;1;null;"},
    {"select name from emp where name like '_d%' or name in ('cy', 'zed') limit 2 offset 1",
     "cy;ed;"},
    {"select name, floor / 0, -floor from dept where floor is not null",
     "tools|null|-3;sales|null|-1;"},
    {"select dept, count(*) as n from emp group by dept having sum(pay) > 500 order by n, dept",
     "1|2;2|2;"},
    {"create table audit_log (entry_no int)", ""},
    {"select * from emp where pay % 100 = 50 and 0 - id <> 4", "3|cy|2|450|1;"},
    {"select nope from emp", "no such column nope"},
    {"select id from emp, dept", "ambiguous column id"},
    {"select sum(count(*)) from emp", "misplaced aggregate"},
    {"select name from emp where (pay > 1", "expected ) near ''"},
    {"insert into dept values ('x', 'y', 1)", "wrong type for id"},
    {"select soundex(name) from emp", "no such function soundex"},
    {"drop table emp", "unknown statement"},
};

static int check_cases(sql::Database &db, uint32_t *hash) {
    int bad = 0;
    for (const Case &c : cases) {
        sql::Database::Result res;
        bool ok = db.execute(c.sql, res);
        const char *got = ok ? res.text.text() : res.status.text();
        if (strcmp(got, c.expected) != 0) {
            printf("%s\n  gave %s\n", c.sql, got);
            bad++;
        }
        for (; *got; got++)
            *hash = (*hash ^ uint8_t(*got)) * 0x01000193u;
    }
    return bad;
}

// A larger generated table, summed by the engine and by hand.
static int check_bulk(sql::Database &db, uint32_t *hash) {
    long total = 0;
    uint32_t seed = 31337;
    char text[80];
    sql::Database::Result made, sum, top;
    db.execute("create table sale (item int, qty int)", made);
    for (int i = 0; i < 300; i++) {
        seed = seed * 1664525u + 1013904223u;
        int qty = int(seed >> 8 & 63);
        sql::Database::Result res;
        snprintf(text, sizeof text, "insert into sale values (%d, %d)", int(seed >> 16) % 7, qty);
        if (!db.execute(text, res))
            return 1;
        total += qty;
    }
    db.execute("select sum(qty) from sale", sum);
    snprintf(text, sizeof text, "%ld;", total);
    db.execute("select s.item, d.name, count(*) as n from sale as s join dept as d on s.item % 3 "
               "+ 1 = d.id where s.qty > 10 group by s.item, d.name order by n desc, 1 limit 3",
               top);
    printf("top sales %s\n", top.text.text());
    for (const char *p = top.text.text(); *p; p++)
        *hash = (*hash ^ uint8_t(*p)) * 0x01000193u;
    return strcmp(text, sum.text.text()) != 0;
}

int main() {
    uint32_t hash = 2166136261u;
    sql::Database db;
    int bad = check_cases(db, &hash);
    bad += check_bulk(db, &hash);
    printf("%zu statements, %d failures\n", sizeof cases / sizeof *cases, bad);
    printf("checksum %08x\n", hash);
    return bad != 0;
}
