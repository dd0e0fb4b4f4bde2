// Compiler for a small expression language: lexer, single-pass Pratt parser emitting bytecode
// (with constant folding at the tail of the code), a disassembler and a frame-based VM.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

namespace calc {

// ---- utilities ----

struct Slice {
    const char *data = "";
    size_t size = 0;

    bool operator==(const Slice &o) const {
        return size == o.size && memcmp(data, o.data, size) == 0;
    }
    bool operator==(const char *s) const { return *this == Slice{s, strlen(s)}; }
};

// Array with a fixed capacity; pushing beyond it fails instead of allocating.
template <class T, size_t N> class Fixed {
  public:
    bool push(const T &v) {
        if (size_ == N)
            return false;
        items_[size_++] = v;
        return true;
    }
    void truncate(size_t n) { size_ = n; }
    size_t size() const { return size_; }
    T &operator[](size_t i) { return items_[i]; }
    const T &operator[](size_t i) const { return items_[i]; }
    T &back() { return items_[size_ - 1]; }

  private:
    T items_[N] = {};
    size_t size_ = 0;
};

struct Diagnostic {
    const char *message = nullptr;
    int line = 0;
};

// ---- lexer ----

enum class Tok : uint8_t {
    End,
    Error,
    Number,
    Name,
    Let,
    Fn,
    If,
    Else,
    LParen,
    RParen,
    LBrace,
    RBrace,
    Comma,
    Semicolon,
    Question,
    Colon,
    Assign,
    OrOr,
    AndAnd,
    EqEq,
    NotEq,
    Less,
    LessEq,
    Greater,
    GreaterEq,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Caret,
    Bang,
    Count
};

struct Token {
    Tok kind = Tok::End;
    Slice text;
    double number = 0;
    int line = 1;
};

class Lexer {
  public:
    explicit Lexer(const char *source) : at_(source) {}

    Token next() {
        skip_space();
        Token t;
        t.line = line_;
        t.text.data = at_;
        if (*at_ == '\0')
            t.kind = Tok::End;
        else if (is_digit(*at_))
            lex_number(t);
        else if (is_alpha(*at_))
            lex_name(t);
        else
            lex_operator(t);
        t.text.size = size_t(at_ - t.text.data);
        return t;
    }

  private:
    static bool is_digit(char c) { return c >= '0' && c <= '9'; }
    static bool is_alpha(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    }

    void skip_space() {
        for (;; at_++) {
            if (*at_ == '#') {
                while (*at_ != '\0' && *at_ != '\n')
                    at_++;
            }
            if (*at_ == '\n')
                line_++;
            else if (*at_ != ' ')
                return;
        }
    }

    void lex_number(Token &t) {
        double scale = 1;
        for (; is_digit(*at_); at_++)
            t.number = t.number * 10 + (*at_ - '0');
        if (*at_ == '.' && is_digit(at_[1])) {
            for (at_++; is_digit(*at_); at_++, scale *= 10)
                t.number = t.number * 10 + (*at_ - '0');
        }
        t.number /= scale;
        t.kind = is_alpha(*at_) ? Tok::Error : Tok::Number;
    }

    void lex_name(Token &t) {
        static const struct {
            const char *word;
            Tok kind;
        } keywords[] = {{"let", Tok::Let}, {"fn", Tok::Fn}, {"if", Tok::If}, {"else", Tok::Else}};
        while (is_alpha(*at_) || is_digit(*at_))
            at_++;
        Slice name{t.text.data, size_t(at_ - t.text.data)};
        t.kind = Tok::Name;
        for (const auto &k : keywords) {
            if (name == k.word)
                t.kind = k.kind;
        }
    }

    void lex_operator(Token &t) {
        char c = *at_++;
        bool eq = *at_ == '=';
        switch (c) {
        case '(':
            t.kind = Tok::LParen;
            return;
        case ')':
            t.kind = Tok::RParen;
            return;
        case '{':
            t.kind = Tok::LBrace;
            return;
        case '}':
            t.kind = Tok::RBrace;
            return;
        case ',':
            t.kind = Tok::Comma;
            return;
        case ';':
            t.kind = Tok::Semicolon;
            return;
        case '?':
            t.kind = Tok::Question;
            return;
        case ':':
            t.kind = Tok::Colon;
            return;
        case '+':
            t.kind = Tok::Plus;
            return;
        case '-':
            t.kind = Tok::Minus;
            return;
        case '*':
            t.kind = Tok::Star;
            return;
        case '/':
            t.kind = Tok::Slash;
            return;
        case '%':
            t.kind = Tok::Percent;
            return;
        case '^':
            t.kind = Tok::Caret;
            return;
        case '=':
            t.kind = eq ? Tok::EqEq : Tok::Assign;
            break;
        case '!':
            t.kind = eq ? Tok::NotEq : Tok::Bang;
            break;
        case '<':
            t.kind = eq ? Tok::LessEq : Tok::Less;
            break;
        case '>':
            t.kind = eq ? Tok::GreaterEq : Tok::Greater;
            break;
        case '|':
        case '&':
            if (*at_ == c) {
                at_++;
                t.kind = c == '|' ? Tok::OrOr : Tok::AndAnd;
                return;
            }
            t.kind = Tok::Error;
            return;
        default:
            t.kind = Tok::Error;
            return;
        }
        at_ += eq;
    }

    const char *at_;
    int line_ = 1;
};

// ---- bytecode ----

enum class Op : uint8_t {
    Const,
    Pop,
    GetLocal,
    GetGlobal,
    SetGlobal,
    Squash, // drop n values beneath the top one
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Less,
    LessEq,
    Equal,
    Not,
    Negate,
    Jump,
    JumpIfFalse, // pops the condition
    JumpIfFalseKeep,
    JumpIfTrueKeep,
    Call,
    CallNative,
    Return
};

struct OpInfo {
    const char *name;
    uint8_t operands;
};

static const OpInfo kOps[] = {{"const", 1},     {"pop", 0},    {"getlocal", 1}, {"getglobal", 1},
                              {"setglobal", 1}, {"squash", 1}, {"add", 0},      {"sub", 0},
                              {"mul", 0},       {"div", 0},    {"mod", 0},      {"pow", 0},
                              {"less", 0},      {"lesseq", 0}, {"equal", 0},    {"not", 0},
                              {"negate", 0},    {"jump", 2},   {"jfalse", 2},   {"jfalsekeep", 2},
                              {"jtruekeep", 2}, {"call", 1},   {"native", 1},   {"return", 0}};

struct Function {
    Slice name;
    uint8_t arity = 0;
    Fixed<uint8_t, 256> code;
    Fixed<double, 32> constants;
};

struct Native {
    const char *name;
    uint8_t arity;
    double (*fn)(const double *args);
};

static const Native kNatives[] = {
    {"sqrt", 1, [](const double *a) { return a[0] < 0 ? 0.0 : sqrt(a[0]); }},
    {"floor", 1, [](const double *a) { return floor(a[0]); }},
    {"abs", 1, [](const double *a) { return fabs(a[0]); }},
    {"min", 2, [](const double *a) { return a[0] < a[1] ? a[0] : a[1]; }},
    {"max", 2, [](const double *a) { return a[0] > a[1] ? a[0] : a[1]; }},
    {"clamp", 3, [](const double *a) { return a[0] < a[1]   ? a[1]
                                              : a[0] > a[2] ? a[2]
                                                            : a[0]; }},
};

struct Module {
    Fixed<Function, 16> functions; // the first one is the main program
    Fixed<Slice, 32> globals;
};

// Integer powers by squaring; other exponents are rounded down.
static double power(double base, double exponent) {
    long n = long(exponent < 0 ? -exponent : exponent);
    double r = 1;
    for (; n > 0; n >>= 1, base *= base) {
        if (n & 1)
            r *= base;
    }
    return exponent < 0 ? 1 / r : r;
}

static bool apply_binary(Op op, double a, double b, double &out) {
    switch (op) {
    case Op::Add:
        out = a + b;
        return true;
    case Op::Sub:
        out = a - b;
        return true;
    case Op::Mul:
        out = a * b;
        return true;
    case Op::Div:
        out = b == 0 ? 0 : a / b;
        return b != 0;
    case Op::Mod:
        out = b == 0 ? 0 : a - b * floor(a / b);
        return b != 0;
    case Op::Pow:
        out = fabs(b) > 1000 ? 0 : power(a, b);
        return fabs(b) <= 1000 && !(a == 0 && b < 0);
    case Op::Less:
        out = a < b;
        return true;
    case Op::LessEq:
        out = a <= b;
        return true;
    case Op::Equal:
        out = a == b;
        return true;
    default:
        return false;
    }
}

// ---- code emitter for one function ----

class Emitter {
  public:
    Emitter(Function &fn, Diagnostic &diag) : fn_(fn), diag_(diag) {}

    void op(Op o) { byte(uint8_t(o)); }
    void op(Op o, size_t operand) {
        op(o);
        if (operand > 255)
            error("operand too large");
        byte(uint8_t(operand));
    }

    void constant(double v) {
        size_t i = 0;
        while (i < fn_.constants.size() && fn_.constants[i] != v)
            i++;
        if (i == fn_.constants.size() && !fn_.constants.push(v))
            error("too many constants");
        op(Op::Const, i);
    }

    void binary(Op o) {
        double a, b, result;
        if (tail_constant(2, a) && tail_constant(1, b) && apply_binary(o, a, b, result)) {
            fn_.code.truncate(fn_.code.size() - 4);
            constant(result);
            return;
        }
        op(o);
    }

    void unary(Op o) {
        double v;
        if (tail_constant(1, v)) {
            fn_.code.truncate(fn_.code.size() - 2);
            constant(o == Op::Negate ? -v : double(v == 0));
            return;
        }
        op(o);
    }

    // Returns a handle for patch().
    size_t jump(Op o) {
        op(o);
        byte(0);
        byte(0);
        return fn_.code.size() - 2;
    }

    void patch(size_t handle) {
        size_t target = fn_.code.size();
        if (failed())
            return;
        fn_.code[handle] = uint8_t(target);
        fn_.code[handle + 1] = uint8_t(target >> 8);
        barrier_ = target; // code before a jump target must not be rewritten
    }

    // Instructions before this point may no longer be folded.
    void seal() { barrier_ = fn_.code.size(); }

  private:
    bool failed() const { return diag_.message != nullptr; }
    void error(const char *message) {
        if (!failed())
            diag_.message = message;
    }
    void byte(uint8_t b) {
        if (!fn_.code.push(b))
            error("function too large");
    }

    // Whether the nth instruction from the end is a constant load, all later ones too.
    bool tail_constant(size_t n, double &value) const {
        size_t need = 2 * n;
        if (failed() || fn_.code.size() < barrier_ + need || last_starts_wrong(n))
            return false;
        size_t at = fn_.code.size() - need;
        value = fn_.constants[fn_.code[at + 1]];
        return true;
    }

    // Decodes forward from the barrier, since instructions have different sizes.
    bool last_starts_wrong(size_t n) const {
        size_t at = barrier_, end = fn_.code.size() - 2 * n;
        while (at < end)
            at += 1u + kOps[fn_.code[at]].operands;
        if (at != end)
            return true;
        for (; at < fn_.code.size(); at += 2) {
            if (fn_.code[at] != uint8_t(Op::Const))
                return true;
        }
        return false;
    }

    Function &fn_;
    Diagnostic &diag_;
    size_t barrier_ = 0;
};

// ---- parser ----

enum Precedence {
    PrecNone,
    PrecConditional,
    PrecOr,
    PrecAnd,
    PrecEquality,
    PrecComparison,
    PrecSum,
    PrecProduct,
    PrecUnary,
    PrecPower,
    PrecCall
};

class Compiler {
  public:
    Compiler(const char *source, Module &module) : lexer_(source), module_(module) { advance(); }

    Diagnostic compile() {
        module_.functions.push(Function());
        Emitter main(module_.functions[0], diag_);
        emit_ = &main;
        main.constant(0);
        while (current_.kind != Tok::End && !failed()) {
            if (current_.kind == Tok::Fn) {
                function_definition();
            } else {
                main.op(Op::Pop);
                main.seal();
                statement();
            }
        }
        main.op(Op::Return);
        return diag_;
    }

  private:
    using Rule = void (Compiler::*)();
    struct ParseRule {
        Rule prefix = nullptr;
        Rule infix = nullptr;
        Precedence precedence = PrecNone;
    };
    struct Local {
        Slice name;
        int depth;
    };

    bool failed() const { return diag_.message != nullptr; }

    void error(const char *message) {
        if (failed())
            return;
        diag_.message = message;
        diag_.line = current_.line;
    }

    void advance() {
        previous_ = current_;
        current_ = lexer_.next();
        if (current_.kind == Tok::Error)
            error("unexpected character");
    }

    bool match(Tok kind) {
        if (current_.kind != kind)
            return false;
        advance();
        return true;
    }

    void expect(Tok kind, const char *message) {
        if (!match(kind))
            error(message);
    }

    static const ParseRule &rule(Tok kind) {
        struct Table {
            ParseRule rules[size_t(Tok::Count)];
            Table() {
                prefix(Tok::Number, &Compiler::number);
                prefix(Tok::Name, &Compiler::name);
                prefix(Tok::LParen, &Compiler::group);
                prefix(Tok::LBrace, &Compiler::block);
                prefix(Tok::If, &Compiler::if_else);
                prefix(Tok::Minus, &Compiler::unary);
                prefix(Tok::Bang, &Compiler::unary);
                infix(Tok::Question, &Compiler::conditional, PrecConditional);
                infix(Tok::OrOr, &Compiler::logical, PrecOr);
                infix(Tok::AndAnd, &Compiler::logical, PrecAnd);
                infix(Tok::EqEq, &Compiler::binary, PrecEquality);
                infix(Tok::NotEq, &Compiler::binary, PrecEquality);
                infix(Tok::Less, &Compiler::binary, PrecComparison);
                infix(Tok::LessEq, &Compiler::binary, PrecComparison);
                infix(Tok::Greater, &Compiler::binary, PrecComparison);
                infix(Tok::GreaterEq, &Compiler::binary, PrecComparison);
                infix(Tok::Plus, &Compiler::binary, PrecSum);
                infix(Tok::Minus, &Compiler::binary, PrecSum);
                infix(Tok::Star, &Compiler::binary, PrecProduct);
                infix(Tok::Slash, &Compiler::binary, PrecProduct);
                infix(Tok::Percent, &Compiler::binary, PrecProduct);
                infix(Tok::Caret, &Compiler::binary, PrecPower);
            }
            void prefix(Tok t, Rule r) { rules[size_t(t)].prefix = r; }
            void infix(Tok t, Rule r, Precedence p) {
                rules[size_t(t)].infix = r;
                rules[size_t(t)].precedence = p;
            }
        };
        static const Table table;
        return table.rules[size_t(kind)];
    }

    // Parses anything that binds at least as tightly as the given precedence.
    void parse(int precedence) {
        if (++nesting_ > 40)
            error("expression too deep");
        advance();
        Rule prefix = rule(previous_.kind).prefix;
        if (!prefix) {
            error("expression expected");
            nesting_--;
            return;
        }
        (this->*prefix)();
        while (!failed() && rule(current_.kind).precedence >= precedence) {
            advance();
            (this->*rule(previous_.kind).infix)();
        }
        nesting_--;
    }

    void expression() { parse(PrecConditional); }

    void number() { emit_->constant(previous_.number); }

    void group() {
        expression();
        expect(Tok::RParen, "expected )");
    }

    void unary() {
        Tok kind = previous_.kind;
        parse(PrecUnary);
        emit_->unary(kind == Tok::Minus ? Op::Negate : Op::Not);
    }

    void binary() {
        Tok kind = previous_.kind;
        int precedence = rule(kind).precedence;
        parse(kind == Tok::Caret ? precedence : precedence + 1); // ^ is right associative
        switch (kind) {
        case Tok::Plus:
            emit_->binary(Op::Add);
            break;
        case Tok::Minus:
            emit_->binary(Op::Sub);
            break;
        case Tok::Star:
            emit_->binary(Op::Mul);
            break;
        case Tok::Slash:
            emit_->binary(Op::Div);
            break;
        case Tok::Percent:
            emit_->binary(Op::Mod);
            break;
        case Tok::Caret:
            emit_->binary(Op::Pow);
            break;
        case Tok::Less:
            emit_->binary(Op::Less);
            break;
        case Tok::LessEq:
            emit_->binary(Op::LessEq);
            break;
        case Tok::Greater: // a > b is !(a <= b); there are no NaNs in this language
            emit_->binary(Op::LessEq);
            emit_->unary(Op::Not);
            break;
        case Tok::GreaterEq:
            emit_->binary(Op::Less);
            emit_->unary(Op::Not);
            break;
        case Tok::EqEq:
            emit_->binary(Op::Equal);
            break;
        default:
            emit_->binary(Op::Equal);
            emit_->unary(Op::Not);
            break;
        }
    }

    void logical() {
        bool is_and = previous_.kind == Tok::AndAnd;
        size_t end = emit_->jump(is_and ? Op::JumpIfFalseKeep : Op::JumpIfTrueKeep);
        emit_->op(Op::Pop);
        emit_->seal();
        parse((is_and ? PrecAnd : PrecOr) + 1);
        emit_->patch(end);
    }

    void conditional() {
        size_t otherwise = emit_->jump(Op::JumpIfFalse);
        emit_->seal();
        expression();
        size_t end = emit_->jump(Op::Jump);
        emit_->patch(otherwise);
        expect(Tok::Colon, "expected :");
        parse(PrecConditional);
        emit_->patch(end);
    }

    void if_else() {
        expression();
        size_t otherwise = emit_->jump(Op::JumpIfFalse);
        emit_->seal();
        expect(Tok::LBrace, "expected {");
        block();
        size_t end = emit_->jump(Op::Jump);
        emit_->patch(otherwise);
        expect(Tok::Else, "expected else");
        if (match(Tok::If)) {
            if_else();
        } else {
            expect(Tok::LBrace, "expected {");
            block();
        }
        emit_->patch(end);
    }

    // { let a = 1; let b = 2; a + b }: the locals stay below the value until the end.
    void block() {
        if (!in_function_) {
            error("blocks are only allowed in functions");
            return;
        }
        size_t outer = locals_.size();
        depth_++;
        while (match(Tok::Let)) {
            Slice name = current_.text;
            expect(Tok::Name, "expected a name");
            expect(Tok::Assign, "expected =");
            temporaries_base_check();
            expression();
            expect(Tok::Semicolon, "expected ;");
            declare_local(name);
        }
        expression();
        expect(Tok::RBrace, "expected }");
        depth_--;
        size_t count = locals_.size() - outer;
        if (count > 0) {
            emit_->op(Op::Squash, count);
            emit_->seal();
        }
        locals_.truncate(outer);
    }

    // Locals are addressed from the frame base, so a block that declares some must not start
    // while operands of an enclosing expression are on the stack.
    void temporaries_base_check() {
        if (nesting_ != block_nesting_ + depth_)
            error("let inside an operand");
    }

    void declare_local(Slice name) {
        for (size_t i = 0; i < locals_.size(); i++) {
            if (locals_[i].name == name && locals_[i].depth == depth_)
                error("name already used");
        }
        if (!locals_.push(Local{name, depth_}))
            error("too many locals");
    }

    void name() {
        Slice name = previous_.text;
        if (match(Tok::LParen)) {
            call(name);
            return;
        }
        for (size_t i = locals_.size(); in_function_ && i-- > 0;) {
            if (locals_[i].name == name) {
                emit_->op(Op::GetLocal, i);
                return;
            }
        }
        size_t g = find_global(name);
        if (g == module_.globals.size())
            error("undefined name");
        emit_->op(Op::GetGlobal, g);
    }

    void call(Slice name) {
        size_t count = 0;
        if (current_.kind != Tok::RParen) {
            do {
                expression();
                count++;
            } while (match(Tok::Comma));
        }
        expect(Tok::RParen, "expected )");
        for (size_t i = 0; i < sizeof kNatives / sizeof kNatives[0]; i++) {
            if (name == kNatives[i].name) {
                finish_call(Op::CallNative, i, count == kNatives[i].arity);
                return;
            }
        }
        for (size_t i = 1; i < module_.functions.size(); i++) {
            if (name == module_.functions[i].name) {
                finish_call(Op::Call, i, count == module_.functions[i].arity);
                return;
            }
        }
        error("undefined function");
    }

    void finish_call(Op op, size_t index, bool arity_ok) {
        if (!arity_ok)
            error("wrong number of arguments");
        emit_->op(op, index);
    }

    size_t find_global(Slice name) const {
        size_t i = 0;
        while (i < module_.globals.size() && !(module_.globals[i] == name))
            i++;
        return i;
    }

    void statement() {
        if (match(Tok::Let)) {
            Slice name = current_.text;
            expect(Tok::Name, "expected a name");
            expect(Tok::Assign, "expected =");
            expression();
            size_t g = find_global(name);
            if (g == module_.globals.size() && !module_.globals.push(name))
                error("too many globals");
            emit_->op(Op::SetGlobal, g);
        } else {
            expression();
        }
        expect(Tok::Semicolon, "expected ;");
    }

    void function_definition() {
        advance();
        Function blank;
        blank.name = current_.text;
        expect(Tok::Name, "expected a name");
        expect(Tok::LParen, "expected (");
        locals_.truncate(0);
        while (current_.kind == Tok::Name && !failed()) {
            declare_local(current_.text);
            advance();
            blank.arity++;
            if (!match(Tok::Comma))
                break;
        }
        expect(Tok::RParen, "expected )");
        expect(Tok::Assign, "expected =");
        if (!module_.functions.push(blank))
            error("too many functions");

        Emitter body(module_.functions.back(), diag_);
        Emitter *outer = emit_;
        emit_ = &body;
        in_function_ = true;
        block_nesting_ = nesting_;
        expression();
        expect(Tok::Semicolon, "expected ;");
        body.op(Op::Return);
        in_function_ = false;
        locals_.truncate(0);
        emit_ = outer;
    }

    Lexer lexer_;
    Module &module_;
    Emitter *emit_ = nullptr;
    Token current_, previous_;
    Diagnostic diag_;
    Fixed<Local, 24> locals_;
    int depth_ = 0, nesting_ = 0, block_nesting_ = 0;
    bool in_function_ = false;
};

// ---- virtual machine ----

enum class Fault { None, Overflow, Arithmetic, Steps };

class Vm {
  public:
    explicit Vm(const Module &module) : module_(module) {}

    Fault run(double &result) {
        enter(0);
        while (fault_ == Fault::None && frame_count_ > 0) {
            if (++steps_ > kMaxSteps)
                fault_ = Fault::Steps;
            else
                step();
        }
        result = fault_ == Fault::None ? stack_[0] : 0;
        return fault_;
    }
    unsigned steps() const { return steps_; }

  private:
    static constexpr unsigned kMaxSteps = 30000;
    static constexpr size_t kStack = 256, kFrames = 48;

    struct Frame {
        const Function *fn;
        size_t pc;
        size_t base;
    };

    void enter(size_t index) {
        const Function &fn = module_.functions[index];
        if (frame_count_ == kFrames) {
            fault_ = Fault::Overflow;
            return;
        }
        frames_[frame_count_++] = Frame{&fn, 0, sp_ - fn.arity};
    }

    void push(double v) {
        if (sp_ == kStack)
            fault_ = Fault::Overflow;
        else
            stack_[sp_++] = v;
    }
    double pop() { return stack_[--sp_]; }

    uint8_t fetch(Frame &f) { return f.fn->code[f.pc++]; }

    void jump_if(Frame &f, bool taken) {
        size_t target = fetch(f);
        target |= size_t(fetch(f)) << 8;
        if (taken)
            f.pc = target;
    }

    void step() {
        Frame &f = frames_[frame_count_ - 1];
        Op op = Op(fetch(f));
        switch (op) {
        case Op::Const:
            push(f.fn->constants[fetch(f)]);
            break;
        case Op::Pop:
            sp_--;
            break;
        case Op::GetLocal:
            push(stack_[f.base + fetch(f)]);
            break;
        case Op::GetGlobal:
            push(globals_[fetch(f)]);
            break;
        case Op::SetGlobal:
            globals_[fetch(f)] = stack_[sp_ - 1];
            break;
        case Op::Squash: {
            double top = pop();
            sp_ -= fetch(f);
            push(top);
            break;
        }
        case Op::Add:
        case Op::Sub:
        case Op::Mul:
        case Op::Div:
        case Op::Mod:
        case Op::Pow:
        case Op::Less:
        case Op::LessEq:
        case Op::Equal: {
            double b = pop();
            double a = pop();
            double r = 0;
            if (!apply_binary(op, a, b, r))
                fault_ = Fault::Arithmetic;
            push(r);
            break;
        }
        case Op::Not:
            push(pop() == 0);
            break;
        case Op::Negate:
            push(-pop());
            break;
        case Op::Jump:
            jump_if(f, true);
            break;
        case Op::JumpIfFalse:
            jump_if(f, pop() == 0);
            break;
        case Op::JumpIfFalseKeep:
            jump_if(f, stack_[sp_ - 1] == 0);
            break;
        case Op::JumpIfTrueKeep:
            jump_if(f, stack_[sp_ - 1] != 0);
            break;
        case Op::Call:
            enter(fetch(f));
            break;
        case Op::CallNative: {
            const Native &n = kNatives[fetch(f)];
            sp_ -= n.arity;
            double r = n.fn(stack_ + sp_);
            push(r);
            break;
        }
        case Op::Return: {
            double r = pop();
            sp_ = f.base;
            frame_count_--;
            push(r);
            break;
        }
        }
    }

    const Module &module_;
    double stack_[kStack] = {};
    double globals_[32] = {};
    Frame frames_[kFrames] = {};
    size_t sp_ = 0, frame_count_ = 0;
    unsigned steps_ = 0;
    Fault fault_ = Fault::None;
};

// ---- disassembler ----

template <class Sink> void disassemble(const Function &fn, Sink sink) {
    char line[64];
    for (size_t at = 0; at < fn.code.size();) {
        uint8_t op = fn.code[at];
        const OpInfo &info = kOps[op];
        unsigned operand = info.operands > 0 ? fn.code[at + 1] : 0;
        if (info.operands > 1)
            operand |= unsigned(fn.code[at + 2]) << 8;
        int n = snprintf(line, sizeof line, "%03zu %s", at, info.name);
        if (op == uint8_t(Op::Const))
            snprintf(line + n, sizeof line - size_t(n), " %.4f", fn.constants[operand]);
        else if (info.operands > 0)
            snprintf(line + n, sizeof line - size_t(n), " %u", operand);
        sink(line);
        at += 1u + info.operands;
    }
}

} // namespace calc

namespace {

struct Case {
    const char *source;
    double expect;
    const char *error; // or nullptr
};

const Case kCases[] = {
    {"1 + 2 * 3 ^ 2 ^ 1 - -4;", 23, nullptr},
    {"let x = 10; let y = x / 4; x % 3 + y;", 3.5, nullptr},
    {"2 * 3 == 6 && !(1 > 2) || 1 / 0;", 1, nullptr},
    {"fn fact(n) = n < 2 ? 1 : n * fact(n - 1); fact(12);", 479001600, nullptr},
    {"fn fib(n) = if n < 2 { n } else { fib(n - 1) + fib(n - 2) };\nfib(13);", 233, nullptr},
    {"fn gcd(a, b) = b == 0 ? a : gcd(b, a % b); gcd(1071, 462);", 21, nullptr},
    {"fn hyp(a, b) = { let aa = a * a; let bb = b * b; sqrt(aa + bb) };\n"
     "# Pythagoras\nhyp(3, 4) + hyp(5, 12);",
     18, nullptr},
    {"fn step(x, n) = { let y = (x + 2 / x) / 2; if n == 0 { y } else { step(y, n - 1) } };\n"
     "step(1, 6);",
     1.414214, nullptr},
    {"fn grade(p) = if p >= 90 { 4 } else if p >= 75 { 3 } else if p >= 60 { 2 } else { 0 };\n"
     "grade(91) * 1000 + grade(75) * 100 + grade(61) * 10 + grade(12);",
     4320, nullptr},
    {"clamp(max(3, 7) * 10, 0, 64) + min(abs(-2), 5) + floor(-0.5);", 65, nullptr},
    {"let z = 6; z != 6 ? 1 : z <= 5 ? 2 : 3;", 3, nullptr},
    {"fn odd(n) = n % 2 == 1; fn mix(n) = odd(n) && n > 3 ? n * 2 : n; mix(5) + mix(3) + mix(8);",
     21, nullptr},
    {"1 + ;", 0, "expression expected"},
    {"let a = 1; a + b;", 0, "undefined name"},
    {"sqrt(1, 2);", 0, "wrong number of arguments"},
    {"(1 + 2;", 0, "expected )"},
    {"3 $ 4;", 0, "unexpected character"},
    {"fn f(a) = 1 + { let b = a; b };", 0, "let inside an operand"},
    {"fn loop(n) = loop(n + 1) + 1; loop(0);", 0, "stack overflow"},
    {"let d = 0; 5 / d;", 0, "arithmetic fault"},
};

uint32_t hash_text(uint32_t h, const char *s) {
    for (; *s; s++)
        h = (h ^ uint8_t(*s)) * 16777619u;
    return h;
}

const char *fault_name(calc::Fault f) {
    switch (f) {
    case calc::Fault::Overflow:
        return "stack overflow";
    case calc::Fault::Arithmetic:
        return "arithmetic fault";
    case calc::Fault::Steps:
        return "too many steps";
    case calc::Fault::None:
        break;
    }
    return nullptr;
}

} // namespace

int main() {
    uint32_t digest = 2166136261u;
    unsigned total_steps = 0, lines = 0;
    char first_line[64] = "";
    for (const Case &c : kCases) {
        calc::Module module;
        calc::Diagnostic diag = calc::Compiler(c.source, module).compile();
        const char *error = diag.message;
        double result = 0;
        if (!error) {
            calc::Vm vm(module);
            error = fault_name(vm.run(result));
            total_steps += vm.steps();
            for (size_t i = 0; i < module.functions.size(); i++) {
                calc::disassemble(module.functions[i], [&](const char *line) {
                    digest = hash_text(digest, line);
                    if (lines++ == 0)
                        snprintf(first_line, sizeof first_line, "%s", line);
                });
            }
        }
        bool same_error = error && c.error ? strcmp(error, c.error) == 0 : error == c.error;
        if (!same_error || fabs(result - c.expect) > 1e-6) {
            printf("%s\n  got %.6f, %s\n", c.source, result, error ? error : "ok");
            return 1;
        }
        char text[64];
        snprintf(text, sizeof text, "%.4f %s", result, error ? error : "ok");
        digest = hash_text(digest, text);
    }
    printf("%zu programs, %u instructions executed\n", sizeof kCases / sizeof kCases[0],
           total_steps);
    printf("%u lines of code, first: %s\n", lines, first_line);
    printf("checksum %08x\n", unsigned(digest));
    return 0;
}
