"""The ledger: what makes the audit log provable.

format          an entry as the JSON object that is hashed and exported
chain           sealing: each entry gets its number and its place in the hash chain
triggers        the database's own refusal to change what was written
signing         the key that signs checkpoints
checkpoints     signed statements of how long the log is and what its root hash is
export, ocsf    the log as JSON lines, CSV, or events of the Open Cybersecurity Schema Framework
verification    the log in the database against its seals and checkpoints

`moderation/audit/verifier.py` does the same for an export, in one file that needs none of this.
"""
