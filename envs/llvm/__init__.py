"""The only place that knows LLVM: sessions, passes, features, lowering, and the C core under them."""
