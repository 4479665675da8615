"""What is raised where runs cannot be trained side by side."""

__all__ = ["VectorizationError"]


class VectorizationError(ValueError):
    """Programs cannot be trained side by side: the message says why, and the way out."""
