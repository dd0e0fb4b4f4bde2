"""The learned simulator of the compiler. Empty until the CodeZero agent brings its world model."""
