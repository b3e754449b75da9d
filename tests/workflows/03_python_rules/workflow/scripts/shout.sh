set -euo pipefail
cat "${snakemake_input[@]}" | tr '[:lower:]' '[:upper:]' > "${snakemake_output[0]}"
