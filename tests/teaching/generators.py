"""Long work in tests."""


def result_of(work):
    """Run a generator to its end."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            return stop.value
