"""Stands in for torchaudio on machines without a GPU.

LLaMA-Factory imports torchaudio when it starts, for audio inputs that text-to-SQL never has, and the build on the
package index needs CUDA and fails to import beside a CPU build of torch. Importing this module works; using anything
of it raises, so nothing can quietly run on it.
"""

__version__ = "2.13.0+standin"


def __getattr__(name: str) -> object:
    """Refuse every use: there is no audio here."""
    raise AttributeError(f"torchaudio.{name}: this is a stand-in without audio; install the real torchaudio to use it")
