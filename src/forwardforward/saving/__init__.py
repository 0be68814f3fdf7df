"""Saved models: a folder with weights and a configuration, from which the model is built again without its program.

:meth:`Network.save_pretrained <forwardforward.network.Network.save_pretrained>` writes the folder and
:meth:`Network.from_pretrained <forwardforward.network.Network.from_pretrained>` reads it, also from the Hugging Face
hub; :func:`forwardforward.pretrained` returns a trained network that is part of the library. Nothing in a folder is
executed or unpickled.
"""

from forwardforward.saving.configuration import Configurable, from_config, to_config

__all__ = ["Configurable", "from_config", "to_config"]
