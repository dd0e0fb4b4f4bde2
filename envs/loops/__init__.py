"""Loop nests: tensor contractions, the transformations of their loops, and the code generator that runs them."""
