// Line-numbered BASIC: the source is parsed into statement and expression objects with virtual
// execute/evaluate methods and run on a small machine with FOR and GOSUB stacks.
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace basic {

// ---- small owning containers ----

template <class T> T &&move(T &v) {
    return static_cast<T &&>(v);
}

template <class T> class Vector {
  public:
    Vector() = default;
    Vector(const Vector &) = delete;
    Vector &operator=(const Vector &) = delete;
    Vector(Vector &&o) : items_(o.items_), size_(o.size_), capacity_(o.capacity_) {
        o.items_ = nullptr;
        o.size_ = o.capacity_ = 0;
    }
    Vector &operator=(Vector &&o) {
        T *items = items_;
        size_t size = size_, capacity = capacity_;
        items_ = o.items_;
        size_ = o.size_;
        capacity_ = o.capacity_;
        o.items_ = items;
        o.size_ = size;
        o.capacity_ = capacity;
        return *this;
    }
    ~Vector() { delete[] items_; }

    T &add(T &&value) {
        if (size_ == capacity_)
            reserve(capacity_ ? capacity_ * 2 : 8);
        items_[size_] = move(value);
        return items_[size_++];
    }
    void pop() { items_[--size_] = T(); }
    void clear() {
        while (size_ > 0)
            pop();
    }
    void resize(size_t n) {
        clear();
        reserve(n);
        size_ = n;
    }

    T &operator[](size_t i) { return items_[i]; }
    const T &operator[](size_t i) const { return items_[i]; }
    T &back() { return items_[size_ - 1]; }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    T *begin() { return items_; }
    T *end() { return items_ + size_; }

  private:
    void reserve(size_t n) {
        if (n <= capacity_)
            return;
        T *grown = new T[n]();
        for (size_t i = 0; i < size_; i++)
            grown[i] = move(items_[i]);
        delete[] items_;
        items_ = grown;
        capacity_ = n;
    }

    T *items_ = nullptr;
    size_t size_ = 0, capacity_ = 0;
};

template <class T> class Owned {
  public:
    Owned() = default;
    explicit Owned(T *p) : p_(p) {}
    template <class U> Owned(Owned<U> &&o) : p_(o.release()) {}
    Owned(Owned &&o) : p_(o.release()) {}
    Owned &operator=(Owned &&o) {
        T *incoming = o.release();
        delete p_;
        p_ = incoming;
        return *this;
    }
    ~Owned() { delete p_; }

    T *release() {
        T *p = p_;
        p_ = nullptr;
        return p;
    }
    T *operator->() const { return p_; }
    explicit operator bool() const { return p_ != nullptr; }

  private:
    T *p_ = nullptr;
};

class String {
  public:
    String() = default;
    String(const char *s, size_t n) { append(s, n); }
    explicit String(const char *s) : String(s, strlen(s)) {}
    String(const String &o) : String(o.c_str(), o.size_) {}
    String(String &&o) { swap(o); }
    String &operator=(String o) {
        swap(o);
        return *this;
    }
    ~String() { free(text_); }

    void append(const char *s, size_t n) {
        if (n == 0)
            return;
        char *grown = static_cast<char *>(realloc(text_, size_ + n + 1));
        if (!grown)
            abort();
        memcpy(grown + size_, s, n);
        size_ += n;
        grown[size_] = '\0';
        text_ = grown;
    }
    void append(const String &s) { append(s.c_str(), s.size_); }

    String substring(size_t from, size_t count) const {
        if (from >= size_)
            return String();
        return String(text_ + from, count < size_ - from ? count : size_ - from);
    }

    const char *c_str() const { return text_ ? text_ : ""; }
    size_t size() const { return size_; }
    int compare(const String &o) const { return strcmp(c_str(), o.c_str()); }

  private:
    void swap(String &o) {
        char *text = text_;
        size_t size = size_;
        text_ = o.text_;
        size_ = o.size_;
        o.text_ = text;
        o.size_ = size;
    }

    char *text_ = nullptr;
    size_t size_ = 0;
};

// ---- values ----

struct Value {
    bool is_text = false;
    double number = 0;
    String text;

    Value() = default;
    Value(double n) : number(n) {}
    Value(String s) : is_text(true), text(move(s)) {}
};

static String format_number(double n) {
    char buf[40];
    if (n == floor(n) && fabs(n) < 1e9)
        snprintf(buf, sizeof buf, "%ld", long(n));
    else
        snprintf(buf, sizeof buf, "%.6g", n);
    return String(buf);
}

// ---- machine ----

struct Array {
    Vector<Value> cells;
    int rows = 0, columns = 0;
};

struct Loop {
    int variable = 0;
    double limit = 0, step = 0;
    size_t body = 0;
};

class Program;

class Machine {
  public:
    explicit Machine(const Program &program);
    bool run();

    Value fail(const char *format, ...) {
        if (error_[0] == '\0') {
            va_list ap;
            va_start(ap, format);
            vsnprintf(error_, sizeof error_, format, ap);
            va_end(ap);
        }
        return Value();
    }
    bool failed() const { return error_[0] != '\0'; }
    const char *error() const { return error_; }

    double expect_number(const Value &v) {
        if (v.is_text)
            fail("type mismatch");
        return v.number;
    }

    void jump_to_line(int line);
    void skip_line();
    void jump_to(size_t index) { pc_ = index; }
    void call_line(int line) {
        if (calls_.size() == kMaxCalls) {
            fail("out of memory");
            return;
        }
        calls_.add(size_t(pc_));
        jump_to_line(line);
    }
    void return_from_call() {
        if (calls_.empty()) {
            fail("RETURN without GOSUB");
            return;
        }
        pc_ = calls_.back();
        calls_.pop();
    }
    void stop() { stopped_ = true; }

    void begin_loop(int variable, double limit, double step) {
        while (!loops_.empty() && loops_.size() > loop_depth(variable))
            loops_.pop();
        Loop loop;
        loop.variable = variable;
        loop.limit = limit;
        loop.step = step;
        loop.body = pc_;
        loops_.add(move(loop));
    }
    void next(int variable) {
        size_t depth = variable < 0 ? loops_.size() - 1 : loop_depth(variable);
        if (loops_.empty() || depth >= loops_.size()) {
            fail("NEXT without FOR");
            return;
        }
        while (loops_.size() > depth + 1)
            loops_.pop();
        Loop &loop = loops_.back();
        double &v = variables[size_t(loop.variable)].number;
        v += loop.step;
        if (loop.step >= 0 ? v <= loop.limit : v >= loop.limit)
            pc_ = loop.body;
        else
            loops_.pop();
    }

    Value read_data();
    void restore_data() { data_at_ = 0; }

    double random() {
        seed_ = seed_ * 1103515245u + 12345u;
        return double(seed_ >> 8 & 0xffff) / 65536.0;
    }

    void print(const String &s) {
        output_.append(s);
        const char *newline = strrchr(s.c_str(), '\n');
        column_ = newline ? strlen(newline + 1) : column_ + s.size();
    }
    size_t column() const { return column_; }
    const String &output() const { return output_; }

    Vector<Value> variables;
    Vector<Array> arrays;

  private:
    static constexpr size_t kMaxCalls = 64;
    static constexpr int kMaxSteps = 20000;

    // Index of the active loop over a variable, or the number of loops.
    size_t loop_depth(int variable) {
        size_t i = 0;
        while (i < loops_.size() && loops_[i].variable != variable)
            i++;
        return i;
    }

    const Program &program_;
    Vector<Loop> loops_;
    Vector<size_t> calls_;
    size_t pc_ = 0, data_at_ = 0, column_ = 0;
    uint32_t seed_ = 1;
    bool stopped_ = false;
    String output_;
    char error_[64] = "";
};

// ---- syntax tree ----

struct Expr {
    virtual ~Expr() {}
    virtual Value eval(Machine &m) const = 0;
};

struct Statement {
    int line = 0;
    virtual ~Statement() {}
    virtual void execute(Machine &m) const = 0;
};

using ExprPtr = Owned<Expr>;
using StatementPtr = Owned<Statement>;

class Program {
  public:
    Vector<StatementPtr> code;
    Vector<Value> data;
    int variable_count = 0, array_count = 0;

    // First statement of the first line numbered at least `line`.
    size_t find_line(int line) const {
        size_t lo = 0, hi = code.size();
        while (lo < hi) {
            size_t mid = (lo + hi) / 2;
            if (code[mid]->line < line)
                lo = mid + 1;
            else
                hi = mid;
        }
        return lo;
    }
};

Machine::Machine(const Program &program) : program_(program) {
    variables.resize(size_t(program.variable_count));
    arrays.resize(size_t(program.array_count));
}

bool Machine::run() {
    for (int steps = 0; !stopped_ && !failed() && pc_ < program_.code.size(); steps++) {
        const StatementPtr &s = program_.code[pc_++];
        if (steps == kMaxSteps)
            fail("time limit");
        else
            s->execute(*this);
        if (failed()) {
            size_t used = strlen(error_);
            snprintf(error_ + used, sizeof error_ - used, " in %d", s->line);
        }
    }
    return !failed();
}

void Machine::jump_to_line(int line) {
    size_t at = program_.find_line(line);
    if (at == program_.code.size() || program_.code[at]->line != line)
        fail("undefined line %d", line);
    else
        pc_ = at;
}

void Machine::skip_line() {
    pc_ = program_.find_line(program_.code[pc_ - 1]->line + 1);
}

Value Machine::read_data() {
    if (data_at_ == program_.data.size())
        return fail("out of DATA");
    return program_.data[data_at_++];
}

// Expressions

struct Constant : Expr {
    Value value;
    explicit Constant(Value v) : value(move(v)) {}
    Value eval(Machine &) const override { return value; }
};

// Something that can be assigned to, read into or evaluated.
struct Location : Expr {
    bool is_text = false;
    virtual Value *resolve(Machine &m) const = 0;

    Value eval(Machine &m) const override {
        Value *v = resolve(m);
        return v ? Value(*v) : Value();
    }
    void assign(Machine &m, const Value &v) const {
        if (m.failed())
            return;
        if (v.is_text != is_text)
            m.fail("type mismatch");
        else if (Value *slot = resolve(m))
            *slot = v;
    }
};

struct Variable : Location {
    int slot;
    Variable(int s, bool text) : slot(s) { is_text = text; }
    Value *resolve(Machine &m) const override {
        Value *v = &m.variables[size_t(slot)];
        v->is_text = is_text;
        return v;
    }
};

struct Element : Location {
    int slot;
    ExprPtr row, column;
    Element(int s, bool text, ExprPtr r, ExprPtr c) : slot(s), row(move(r)), column(move(c)) {
        is_text = text;
    }
    Value *resolve(Machine &m) const override {
        int r = int(m.expect_number(row->eval(m)));
        int c = column ? int(m.expect_number(column->eval(m))) : 0;
        Array &a = m.arrays[size_t(slot)];
        if (m.failed() || r < 0 || r >= a.rows || c < 0 || c >= a.columns) {
            m.fail("bad subscript");
            return nullptr;
        }
        Value *v = &a.cells[size_t(r) * size_t(a.columns) + size_t(c)];
        v->is_text = is_text;
        return v;
    }
};

enum class Op { Or, And, Eq, Ne, Lt, Le, Gt, Ge, Add, Sub, Mul, Div, Mod };

static bool relation(Op op, double sign) {
    switch (op) {
    case Op::Eq:
        return sign == 0;
    case Op::Ne:
        return sign != 0;
    case Op::Lt:
        return sign < 0;
    case Op::Le:
        return sign <= 0;
    case Op::Gt:
        return sign > 0;
    default:
        return sign >= 0;
    }
}

struct Binary : Expr {
    Op op;
    ExprPtr left, right;
    Binary(Op o, ExprPtr l, ExprPtr r) : op(o), left(move(l)), right(move(r)) {}

    Value eval(Machine &m) const override {
        Value a = left->eval(m);
        Value b = right->eval(m);
        if (a.is_text && b.is_text)
            return eval_text(m, a.text, b.text);
        double x = m.expect_number(a), y = m.expect_number(b);
        switch (op) {
        case Op::Or:
            return x != 0 || y != 0 ? -1.0 : 0.0;
        case Op::And:
            return x != 0 && y != 0 ? -1.0 : 0.0;
        case Op::Add:
            return x + y;
        case Op::Sub:
            return x - y;
        case Op::Mul:
            return x * y;
        case Op::Div:
        case Op::Mod:
            if (y == 0)
                return m.fail("division by zero");
            return op == Op::Div ? x / y : x - y * floor(x / y);
        default:
            return relation(op, x - y) ? -1.0 : 0.0;
        }
    }

  private:
    Value eval_text(Machine &m, const String &a, const String &b) const {
        if (op == Op::Add) {
            String joined(a);
            joined.append(b);
            return joined;
        }
        if (op < Op::Eq || op > Op::Ge)
            return m.fail("type mismatch");
        return relation(op, a.compare(b)) ? -1.0 : 0.0;
    }
};

struct Negate : Expr {
    ExprPtr inner;
    explicit Negate(ExprPtr e) : inner(move(e)) {}
    Value eval(Machine &m) const override { return -m.expect_number(inner->eval(m)); }
};

struct Not : Expr {
    ExprPtr inner;
    explicit Not(ExprPtr e) : inner(move(e)) {}
    Value eval(Machine &m) const override {
        return m.expect_number(inner->eval(m)) == 0 ? -1.0 : 0.0;
    }
};

using Builtin = Value (*)(Machine &m, const Value *args);

static Value fn_abs(Machine &, const Value *a) {
    return fabs(a[0].number);
}
static Value fn_int(Machine &, const Value *a) {
    return floor(a[0].number);
}
static Value fn_sgn(Machine &, const Value *a) {
    return double((a[0].number > 0) - (a[0].number < 0));
}
static Value fn_sqr(Machine &m, const Value *a) {
    return a[0].number < 0 ? m.fail("bad argument") : Value(sqrt(a[0].number));
}
static Value fn_rnd(Machine &m, const Value *a) {
    return floor(m.random() * a[0].number);
}
static Value fn_len(Machine &, const Value *a) {
    return double(a[0].text.size());
}
static Value fn_asc(Machine &, const Value *a) {
    return double(uint8_t(a[0].text.c_str()[0]));
}
static Value fn_val(Machine &, const Value *a) {
    return double(strtol(a[0].text.c_str(), nullptr, 10));
}
static Value fn_str(Machine &, const Value *a) {
    return format_number(a[0].number);
}
static Value fn_chr(Machine &m, const Value *a) {
    if (a[0].number < 1 || a[0].number > 127)
        return m.fail("bad argument");
    char c = char(a[0].number);
    return String(&c, 1);
}
static Value fn_mid(Machine &m, const Value *a) {
    if (a[1].number < 1 || a[2].number < 0)
        return m.fail("bad argument");
    return a[0].text.substring(size_t(a[1].number) - 1, size_t(a[2].number));
}
static Value fn_left(Machine &m, const Value *a) {
    return a[1].number < 0 ? m.fail("bad argument")
                           : Value(a[0].text.substring(0, size_t(a[1].number)));
}

struct BuiltinInfo {
    const char *name;
    const char *params; // one letter per parameter: n(umber) or t(ext)
    Builtin fn;
};

static const BuiltinInfo kBuiltins[] = {
    {"ABS", "n", fn_abs},  {"INT", "n", fn_int},  {"SGN", "n", fn_sgn},    {"SQR", "n", fn_sqr},
    {"RND", "n", fn_rnd},  {"LEN", "t", fn_len},  {"ASC", "t", fn_asc},    {"VAL", "t", fn_val},
    {"STR$", "n", fn_str}, {"CHR$", "n", fn_chr}, {"MID$", "tnn", fn_mid}, {"LEFT$", "tn", fn_left},
};

struct Call : Expr {
    const BuiltinInfo *info;
    Vector<ExprPtr> args;
    Call(const BuiltinInfo *i, Vector<ExprPtr> a) : info(i), args(move(a)) {}

    Value eval(Machine &m) const override {
        Value values[3];
        for (size_t i = 0; i < args.size(); i++) {
            values[i] = args[i]->eval(m);
            if (values[i].is_text != (info->params[i] == 't'))
                m.fail("type mismatch");
        }
        return m.failed() ? Value() : info->fn(m, values);
    }
};

// Statements

using LocationPtr = Owned<Location>;

struct Let : Statement {
    LocationPtr target;
    ExprPtr value;
    void execute(Machine &m) const override { target->assign(m, value->eval(m)); }
};

struct Print : Statement {
    struct Item {
        ExprPtr value; // may be absent
        char separator = '\n';
    };
    Vector<Item> items;

    void execute(Machine &m) const override {
        if (items.empty())
            m.print(String("\n"));
        for (size_t i = 0; i < items.size(); i++) {
            const Item &item = items[i];
            if (item.value) {
                Value v = item.value->eval(m);
                if (m.failed())
                    return;
                m.print(v.is_text ? v.text : format_number(v.number));
            }
            if (item.separator == '\n')
                m.print(String("\n"));
            while (item.separator == ',' && m.column() % 8 != 7)
                m.print(String(" "));
            if (item.separator == ',')
                m.print(String(" "));
        }
    }
};

struct If : Statement {
    ExprPtr condition;
    void execute(Machine &m) const override {
        if (m.expect_number(condition->eval(m)) == 0)
            m.skip_line();
    }
};

struct Goto : Statement {
    int target = 0;
    bool is_call = false;
    void execute(Machine &m) const override {
        if (is_call)
            m.call_line(target);
        else
            m.jump_to_line(target);
    }
};

struct OnGoto : Statement {
    ExprPtr selector;
    Vector<int> targets;
    bool is_call = false;
    void execute(Machine &m) const override {
        int n = int(m.expect_number(selector->eval(m)));
        if (n < 1 || size_t(n) > targets.size())
            return;
        if (is_call)
            m.call_line(targets[size_t(n) - 1]);
        else
            m.jump_to_line(targets[size_t(n) - 1]);
    }
};

struct For : Statement {
    int variable = 0;
    ExprPtr from, to, step;
    void execute(Machine &m) const override {
        double first = m.expect_number(from->eval(m));
        double limit = m.expect_number(to->eval(m));
        double by = step ? m.expect_number(step->eval(m)) : 1.0;
        if (m.failed())
            return;
        m.variables[size_t(variable)].number = first;
        m.begin_loop(variable, limit, by);
    }
};

struct Next : Statement {
    int variable = -1;
    void execute(Machine &m) const override { m.next(variable); }
};

struct Dim : Statement {
    int slot = 0;
    ExprPtr rows, columns;
    void execute(Machine &m) const override {
        int r = int(m.expect_number(rows->eval(m))) + 1;
        int c = columns ? int(m.expect_number(columns->eval(m))) + 1 : 1;
        if (m.failed() || r < 1 || c < 1 || r > 1000 || c > 1000) {
            m.fail("bad dimension");
            return;
        }
        Array &a = m.arrays[size_t(slot)];
        a.rows = r;
        a.columns = c;
        a.cells.resize(size_t(r) * size_t(c));
    }
};

struct Read : Statement {
    LocationPtr target;
    void execute(Machine &m) const override { target->assign(m, m.read_data()); }
};

enum class Simple { Return, End, Restore, Nothing };

struct SimpleStatement : Statement {
    Simple what = Simple::Nothing;
    void execute(Machine &m) const override {
        switch (what) {
        case Simple::Return:
            m.return_from_call();
            break;
        case Simple::End:
            m.stop();
            break;
        case Simple::Restore:
            m.restore_data();
            break;
        case Simple::Nothing:
            break;
        }
    }
};

// ---- parser: one pass over the text, no separate token list ----

enum class Token { End, Newline, Number, Text, Word, Symbol };

class Parser {
  public:
    Parser(const char *source, Program &program) : at_(source), program_(program) { advance(); }

    bool parse() {
        while (kind_ != Token::End && !failed()) {
            if (kind_ == Token::Newline)
                advance();
            else
                parse_line();
        }
        program_.variable_count = int(variables_.size());
        program_.array_count = int(arrays_.size());
        return !failed();
    }
    const char *error() const { return error_; }

  private:
    struct Name {
        char text[12] = "";
    };

    struct OperatorInfo {
        const char *text;
        Op op;
        int precedence;
    };

    bool failed() const { return error_[0] != '\0'; }

    void fail(const char *what) {
        if (!failed())
            snprintf(error_, sizeof error_, "%s in %d", what, line_);
        kind_ = Token::End;
    }

    // Lexer

    static bool is_digit(char c) { return c >= '0' && c <= '9'; }
    static bool is_letter(char c) { return c >= 'A' && c <= 'Z'; }

    void advance() {
        if (failed())
            return;
        while (*at_ == ' ')
            at_++;
        const char *start = at_;
        if (*at_ == '\0') {
            kind_ = Token::End;
        } else if (*at_ == '\n') {
            kind_ = Token::Newline;
            at_++;
        } else if (is_digit(*at_) || (*at_ == '.' && is_digit(at_[1]))) {
            lex_number();
        } else if (*at_ == '"') {
            lex_text();
        } else if (is_letter(*at_)) {
            while (is_letter(*at_) || is_digit(*at_))
                at_++;
            if (*at_ == '$')
                at_++;
            set_word(Token::Word, start);
        } else {
            at_++;
            if ((*start == '<' && (*at_ == '=' || *at_ == '>')) || (*start == '>' && *at_ == '='))
                at_++;
            set_word(Token::Symbol, start);
        }
    }

    void set_word(Token kind, const char *start) {
        size_t n = size_t(at_ - start);
        kind_ = kind;
        if (n >= sizeof word_.text) {
            fail("name too long");
            return;
        }
        memcpy(word_.text, start, n);
        word_.text[n] = '\0';
    }

    void lex_number() {
        double scale = 1;
        number_ = 0;
        for (; is_digit(*at_); at_++)
            number_ = number_ * 10 + (*at_ - '0');
        if (*at_ == '.') {
            for (at_++; is_digit(*at_); at_++) {
                number_ = number_ * 10 + (*at_ - '0');
                scale *= 10;
            }
        }
        number_ /= scale;
        kind_ = Token::Number;
    }

    void lex_text() {
        const char *start = ++at_;
        at_ += strcspn(at_, "\"\n");
        text_ = String(start, size_t(at_ - start));
        kind_ = Token::Text;
        if (*at_ != '"')
            fail("missing quote");
        else
            at_++;
    }

    bool is(const char *word) const {
        return (kind_ == Token::Word || kind_ == Token::Symbol) && strcmp(word_.text, word) == 0;
    }

    bool accept(const char *word) {
        if (!is(word))
            return false;
        advance();
        return true;
    }

    void expect(const char *word) {
        if (!accept(word))
            fail("syntax error");
    }

    bool at_statement_end() const {
        return kind_ == Token::Newline || kind_ == Token::End || is(":");
    }

    int parse_line_number() {
        int n = int(number_);
        if (kind_ != Token::Number || number_ != floor(number_))
            fail("line number expected");
        else
            advance();
        return n;
    }

    // Names

    static int intern(Vector<Name> &table, const Name &name) {
        for (size_t i = 0; i < table.size(); i++) {
            if (strcmp(table[i].text, name.text) == 0)
                return int(i);
        }
        table.add(Name(name));
        return int(table.size()) - 1;
    }

    static bool names_text(const Name &name) { return strchr(name.text, '$') != nullptr; }

    // Expressions

    const OperatorInfo *current_operator() const {
        static const OperatorInfo table[] = {
            {"OR", Op::Or, 1},  {"AND", Op::And, 2}, {"=", Op::Eq, 3},  {"<>", Op::Ne, 3},
            {"<", Op::Lt, 3},   {"<=", Op::Le, 3},   {">", Op::Gt, 3},  {">=", Op::Ge, 3},
            {"+", Op::Add, 4},  {"-", Op::Sub, 4},   {"*", Op::Mul, 5}, {"/", Op::Div, 5},
            {"MOD", Op::Mod, 5}};
        for (const OperatorInfo &o : table) {
            if (is(o.text))
                return &o;
        }
        return nullptr;
    }

    ExprPtr parse_expr(int min_precedence = 1) {
        ExprPtr left = parse_unary();
        while (const OperatorInfo *o = current_operator()) {
            if (o->precedence < min_precedence)
                break;
            advance();
            ExprPtr right = parse_expr(o->precedence + 1);
            left = ExprPtr(new Binary(o->op, move(left), move(right)));
        }
        return left;
    }

    ExprPtr parse_unary() {
        if (accept("-"))
            return ExprPtr(new Negate(parse_unary()));
        if (accept("NOT"))
            return ExprPtr(new Not(parse_expr(3)));
        return parse_primary();
    }

    ExprPtr parse_primary() {
        if (kind_ == Token::Number) {
            ExprPtr e(new Constant(number_));
            advance();
            return e;
        }
        if (kind_ == Token::Text) {
            ExprPtr e(new Constant(text_));
            advance();
            return e;
        }
        if (accept("(")) {
            ExprPtr e = parse_expr();
            expect(")");
            return e;
        }
        if (kind_ != Token::Word) {
            fail("syntax error");
            return ExprPtr(new Constant(0.0));
        }
        for (const BuiltinInfo &b : kBuiltins) {
            if (accept(b.name))
                return parse_call(b);
        }
        return parse_location();
    }

    ExprPtr parse_call(const BuiltinInfo &b) {
        Vector<ExprPtr> args;
        size_t count = strlen(b.params);
        expect("(");
        for (size_t i = 0; i < count; i++) {
            if (i > 0)
                expect(",");
            args.add(parse_expr());
        }
        expect(")");
        return ExprPtr(new Call(&b, move(args)));
    }

    LocationPtr parse_location() {
        Name name = word_;
        if (kind_ != Token::Word)
            fail("variable expected");
        advance();
        if (!accept("("))
            return LocationPtr(new Variable(intern(variables_, name), names_text(name)));
        ExprPtr row = parse_expr(), column;
        if (accept(","))
            column = parse_expr();
        expect(")");
        int slot = intern(arrays_, name);
        return LocationPtr(new Element(slot, names_text(name), move(row), move(column)));
    }

    int parse_loop_variable() {
        Name name = word_;
        if (kind_ != Token::Word || names_text(name))
            fail("variable expected");
        advance();
        return intern(variables_, name);
    }

    // Statements

    void add(Statement *s) {
        s->line = line_;
        program_.code.add(StatementPtr(s));
    }

    void parse_line() {
        int number = parse_line_number();
        if (!failed() && number <= line_)
            fail("lines out of order");
        line_ = number;
        while (!failed()) {
            parse_statement();
            if (accept(":"))
                continue;
            if (kind_ != Token::Newline && kind_ != Token::End)
                fail("syntax error");
            return;
        }
    }

    void parse_statement() {
        using Handler = void (Parser::*)();
        static const struct {
            const char *keyword;
            Handler handler;
        } handlers[] = {
            {"LET", &Parser::parse_let},     {"PRINT", &Parser::parse_print},
            {"IF", &Parser::parse_if},       {"GOTO", &Parser::parse_goto},
            {"GOSUB", &Parser::parse_gosub}, {"ON", &Parser::parse_on},
            {"FOR", &Parser::parse_for},     {"NEXT", &Parser::parse_next},
            {"DIM", &Parser::parse_dim},     {"READ", &Parser::parse_read},
            {"DATA", &Parser::parse_data},   {"RETURN", &Parser::parse_return},
            {"END", &Parser::parse_end},     {"RESTORE", &Parser::parse_restore},
            {"REM", &Parser::parse_remark},
        };
        for (const auto &h : handlers) {
            if (is(h.keyword)) {
                if (h.handler != &Parser::parse_remark)
                    advance();
                (this->*h.handler)();
                return;
            }
        }
        parse_let();
    }

    void parse_let() {
        Let *s = new Let;
        s->target = parse_location();
        expect("=");
        s->value = parse_expr();
        add(s);
    }

    void parse_print() {
        Print *s = new Print;
        while (!at_statement_end()) {
            Print::Item item;
            if (!is(";") && !is(","))
                item.value = parse_expr();
            if (is(";") || is(",")) {
                item.separator = word_.text[0];
                advance();
            }
            s->items.add(move(item));
        }
        add(s);
    }

    // A false condition skips the rest of the line, so no nesting is needed.
    void parse_if() {
        If *s = new If;
        s->condition = parse_expr();
        add(s);
        expect("THEN");
        if (kind_ == Token::Number)
            parse_goto();
        else
            parse_statement();
    }

    void parse_jump(bool is_call) {
        Goto *s = new Goto;
        s->target = parse_line_number();
        s->is_call = is_call;
        add(s);
    }
    void parse_goto() { parse_jump(false); }
    void parse_gosub() { parse_jump(true); }

    void parse_on() {
        OnGoto *s = new OnGoto;
        s->selector = parse_expr();
        s->is_call = is("GOSUB");
        if (!accept("GOSUB"))
            expect("GOTO");
        do
            s->targets.add(parse_line_number());
        while (accept(","));
        add(s);
    }

    void parse_for() {
        For *s = new For;
        s->variable = parse_loop_variable();
        expect("=");
        s->from = parse_expr();
        expect("TO");
        s->to = parse_expr();
        if (accept("STEP"))
            s->step = parse_expr();
        add(s);
    }

    void parse_next() {
        Next *s = new Next;
        if (!at_statement_end())
            s->variable = parse_loop_variable();
        add(s);
    }

    void parse_dim() {
        do {
            Dim *s = new Dim;
            s->slot = intern(arrays_, word_);
            advance();
            expect("(");
            s->rows = parse_expr();
            if (accept(","))
                s->columns = parse_expr();
            expect(")");
            add(s);
        } while (accept(","));
    }

    void parse_read() {
        do {
            Read *s = new Read;
            s->target = parse_location();
            add(s);
        } while (accept(","));
    }

    void parse_data() {
        do {
            bool negative = accept("-");
            if (kind_ == Token::Number)
                program_.data.add(Value(negative ? -number_ : number_));
            else if (kind_ == Token::Text && !negative)
                program_.data.add(Value(text_));
            else
                fail("bad DATA");
            advance();
        } while (accept(","));
        add_simple(Simple::Nothing);
    }

    void add_simple(Simple what) {
        SimpleStatement *s = new SimpleStatement;
        s->what = what;
        add(s);
    }
    void parse_return() { add_simple(Simple::Return); }
    void parse_end() { add_simple(Simple::End); }
    void parse_restore() { add_simple(Simple::Restore); }
    void parse_remark() {
        at_ += strcspn(at_, "\n");
        advance();
        add_simple(Simple::Nothing);
    }

    const char *at_;
    Program &program_;
    Token kind_ = Token::End;
    Name word_;
    double number_ = 0;
    String text_;
    int line_ = 0;
    Vector<Name> variables_, arrays_;
    char error_[64] = "";
};

} // namespace basic

// ---- sample listings ----

namespace {

struct Sample {
    const char *name, *listing, *expect;
};

const Sample kSamples[] = {
    {"primes",
     "10 REM PRIMES BY TRIAL DIVISION\n"
     "20 FOR N = 2 TO 40\n"
     "30 D = 2\n"
     "40 IF D * D > N THEN PRINT N; \" \"; : GOTO 70\n"
     "50 IF N MOD D = 0 THEN 70\n"
     "60 D = D + 1 : GOTO 40\n"
     "70 NEXT N\n",
     "2 3 5 7 11 13 17 19 23 29 31 37 "},
    {"sort",
     "10 DIM A(9)\n"
     "20 FOR I = 0 TO 9 : READ A(I) : NEXT\n"
     "30 FOR I = 1 TO 9\n"
     "40 T = A(I) : J = I - 1\n"
     "50 IF J < 0 THEN 80\n"
     "60 IF A(J) <= T THEN 80\n"
     "70 A(J + 1) = A(J) : J = J - 1 : GOTO 50\n"
     "80 A(J + 1) = T\n"
     "90 NEXT I\n"
     "100 FOR I = 9 TO 0 STEP -3 : PRINT A(I); : PRINT \"/\"; : NEXT\n"
     "110 DATA 14, -3, 8.5, 99, 0, 27, 27, 6, -40, 61\n",
     "99/27/6/-40/"},
    {"caesar",
     "10 A$ = \"HELLO, WORLD\" : K = 3 : GOSUB 100 : PRINT R$\n"
     "20 A$ = R$ : K = 23 : GOSUB 100 : PRINT R$; \" \"; LEN(R$)\n"
     "30 END\n"
     "100 R$ = \"\"\n"
     "110 FOR I = 1 TO LEN(A$)\n"
     "120 C$ = MID$(A$, I, 1)\n"
     "130 IF C$ < \"A\" OR C$ > \"Z\" THEN 150\n"
     "140 C$ = CHR$((ASC(C$) - 65 + K) MOD 26 + 65)\n"
     "150 R$ = R$ + C$\n"
     "160 NEXT I : RETURN\n",
     "KHOOR, ZRUOG\nHELLO, WORLD 12\n"},
    {"hanoi",
     "10 DIM N(20), S(20), D(20) : P = 1 : N(1) = 5 : S(1) = 1 : D(1) = 3\n"
     "20 GOSUB 100 : PRINT \"MOVES\"; M : END\n"
     "100 IF N(P) = 0 THEN RETURN\n"
     "110 P = P + 1 : N(P) = N(P-1) - 1 : S(P) = S(P-1) : D(P) = 6 - S(P-1) - D(P-1)\n"
     "120 GOSUB 100 : P = P - 1 : M = M + 1\n"
     "130 P = P + 1 : N(P) = N(P-1) - 1 : S(P) = 6 - S(P-1) - D(P-1) : D(P) = D(P-1)\n"
     "140 GOSUB 100 : P = P - 1 : RETURN\n",
     "MOVES31\n"},
    {"matrix",
     "10 DIM A(2,2), B(2,2)\n"
     "20 FOR I = 0 TO 2 : FOR J = 0 TO 2 : A(I,J) = I * 3 + J + 1 : NEXT J : NEXT I\n"
     "30 FOR I = 0 TO 2 : FOR J = 0 TO 2 : FOR K = 0 TO 2\n"
     "40 B(I,J) = B(I,J) + A(I,K) * A(K,J)\n"
     "50 NEXT K : PRINT B(I,J), : NEXT J : PRINT : NEXT I\n",
     "30      36      42      \n66      81      96      \n102     126     150     \n"},
    {"newton",
     "10 FOR I = 1 TO 3 : ON I GOSUB 100, 200, 300 : NEXT\n"
     "20 PRINT NOT (1 > 2) AND SGN(-7) = -1; STR$(INT(-2.5)); LEFT$(\"ABCDEF\", VAL(\"3X\")) : "
     "END\n"
     "100 X = 2 : FOR K = 1 TO 6 : X = (X + 2 / X) / 2 : NEXT K : PRINT X : RETURN\n"
     "200 PRINT ABS(X - SQR(2)) < .000001 : RETURN\n"
     "300 T = 0 : FOR K = 1 TO 50 : T = T + RND(6) + 1 : NEXT K : PRINT T > 100 AND T < 250 : "
     "RETURN\n",
     "1.41421\n-1\n-1\n-1-3ABC\n"},
    {"bad goto", "10 GOTO 15\n20 END\n", nullptr},
    {"bad type", "10 A$ = \"X\" : B = A$ + \"Y\"\n", nullptr},
    {"bad zero", "10 FOR I = 3 TO 0 STEP -1 : PRINT 6 / I : NEXT\n", nullptr},
    {"bad subscript", "10 DIM Q(4)\n20 FOR I = 0 TO 9 : Q(I) = I : NEXT\n", nullptr},
    {"bad return", "10 RETURN\n", nullptr},
    {"endless", "10 GOTO 10\n", nullptr},
    {"no data", "10 READ A, B\n20 DATA 1\n", nullptr},
    {"bad syntax", "10 PRINT (1 + 2\n", nullptr},
    {"bad order", "20 END\n10 END\n", nullptr},
    {"bad quote", "10 PRINT \"OPEN\n", nullptr},
};

uint32_t hash_text(uint32_t h, const char *s) {
    while (*s)
        h = (h ^ uint8_t(*s++)) * 16777619u;
    return h;
}

} // namespace

int main() {
    uint32_t digest = 2166136261u;
    unsigned ran = 0, stopped = 0;
    char last_error[64] = "";

    for (const Sample &s : kSamples) {
        basic::Program program;
        basic::Parser parser(s.listing, program);
        bool parsed = parser.parse();
        basic::Machine machine(program);
        bool ok = parsed && machine.run();
        const char *error = parsed ? machine.error() : parser.error();
        const char *output = machine.output().c_str();

        if (ok != (s.expect != nullptr) || (ok && strcmp(output, s.expect) != 0)) {
            printf("%s: unexpected: %s [%s]\n", s.name, error, output);
            return 1;
        }
        if (!ok)
            snprintf(last_error, sizeof last_error, "%s", error);
        ran += ok;
        stopped += !ok;
        digest = hash_text(hash_text(digest, output), error);
    }
    printf("%u listings ran, %u stopped with an error\n", ran, stopped);
    printf("last error: %s\n", last_error);
    printf("checksum %08x\n", unsigned(digest));
    return 0;
}
