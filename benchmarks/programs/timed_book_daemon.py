"""The daemon of the book, which also writes down when it refreshed each row."""

from benchmarks.programs.book_daemon import main
from benchmarks.programs.timed_row import TimedRows

if __name__ == "__main__":
    main(TimedRows())
