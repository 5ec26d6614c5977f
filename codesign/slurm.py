"""A SLURM script that runs a study on the workers of a Dask scheduler: text only, nothing is submitted."""

from __future__ import annotations

import shlex
from pathlib import Path


def slurm_script(study: str, out: Path, *, workers: int) -> str:
    """Batch script of one job: certificates, scheduler, ``workers`` workers of one thread, and the study itself.

    The traffic is encrypted with a certificate made for the job. The job begins again where it was, whether it was
    requeued or submitted a second time. Source of the variables: docs.dask.org, "Configuration"; distributed.dask.org,
    "TLS/SSL".
    """
    folder, command = shlex.quote(str(out)), shlex.quote(study)
    return f"""#!/usr/bin/env bash
# Submit with: sbatch FILE. Partition, account and time are the site's: add them here.
#SBATCH --job-name=spikeloop
#SBATCH --ntasks={workers}
#SBATCH --cpus-per-task=1
#SBATCH --requeue
set -euo pipefail
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1
out={folder}
job=${{SLURM_JOB_ID:-local}}
# A folder that only this user can read, and that every node of the job sees.
private="$HOME/.spikeloop-dask/$job"
mkdir -p "$private"
chmod 700 "$private"
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$private"' EXIT
openssl req -x509 -newkey rsa:3072 -nodes -days 30 -subj "/CN=spikeloop-$job" \\
    -keyout "$private/key.pem" -out "$private/cert.pem" 2>/dev/null
tls=DASK_DISTRIBUTED__COMM__TLS
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=true
export "${{tls}}__CA_FILE=$private/cert.pem"
for role in SCHEDULER WORKER CLIENT; do
    export "${{tls}}__${{role}}__CERT=$private/cert.pem" "${{tls}}__${{role}}__KEY=$private/key.pem"
done
dask scheduler --protocol tls --no-dashboard --port 0 --scheduler-file "$private/scheduler.json" &
while [ ! -s "$private/scheduler.json" ]; do sleep 1; done
srun --ntasks={workers} dask worker --protocol tls --no-dashboard --nworkers 1 --nthreads 1 \\
    --scheduler-file "$private/scheduler.json" --local-directory "${{TMPDIR:-/tmp}}" &
address=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' "$private/scheduler.json")
spikeloop explore {command} --out "$out" --scheduler "$address" --resume
"""
