"""LaTeX to trees and back: words, grammar, printing. Knows nothing of what a formula means."""
