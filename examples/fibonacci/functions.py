"""What the solver can do; `colonies-run python` calls it by ``functions:fibonacci``."""


def fibonacci(n: int) -> int:
    """Give the n-th Fibonacci number; number 0 is 0, number 1 is 1."""
    if not isinstance(n, int) or n < 0:
        raise ValueError("n: expected a whole number from 0")
    last, this = 0, 1
    for _ in range(n):
        last, this = this, last + this
    return last
