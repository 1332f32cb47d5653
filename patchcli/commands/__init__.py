"""The commands, one a file; `patchcli.cli` imports one when it is called."""
