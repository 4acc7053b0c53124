"""The ledger: hash chain, signatures and verification of the audit log.

format          an entry as the JSON object that is hashed and exported
chain           sealing: each entry gets its number and its place in the hash chain
triggers        database triggers that refuse changes
signing         the key that signs checkpoints
checkpoints     signed notes of the log's length and root hash
export, ocsf    the log as JSON lines, CSV, or events of the Open Cybersecurity Schema Framework
verification    the log in the database against its seals and checkpoints

`moderation/audit/verifier.py` verifies an export, in one file without dependencies on the console.
"""
