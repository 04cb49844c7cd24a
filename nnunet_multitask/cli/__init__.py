"""The command line ``nnunet-multitask``: one file per subcommand, heavy imports inside ``run``."""
