#!/bin/bash
# A Slurm of one node on this machine, for tests: no systemd, no munge, loopback only. Needs root and Debian's packages
# slurmctld, slurmd and slurm-client.
#   scripts/slurm.sh ready          installs the packages if they are missing; says why not where that cannot be done
#   scripts/slurm.sh start FOLDER   starts it; SLURM_CONF is then FOLDER/slurm.conf
#   scripts/slurm.sh stop FOLDER    stops it
set -euo pipefail
command=${1:?ready, start or stop}
packages=(slurmctld slurmd slurm-client)

# All that is said on standard output is the reason.
ready() {
    if [ "$(id -u)" != 0 ]; then echo "its daemons need root"; return 1; fi
    if installed; then return; fi
    if ! command -v apt-get >/dev/null; then echo "${packages[*]} are not installed, and there is no apt-get"; return 1; fi
    echo "slurm: installing ${packages[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    if ! { install || { apt-get -qq update && install; }; } >&2 || ! installed; then
        echo "${packages[*]} are not installed, and apt-get could not install them (see above)"
        return 1
    fi
}

install() { apt-get -qq install -y --no-install-recommends "${packages[@]}"; }

installed() {
    local program
    for program in slurmctld slurmd sbatch; do command -v "$program" >/dev/null || return 1; done
}

stop() {
    for daemon in slurmd slurmctld; do
        if [ -s "$folder/$daemon.pid" ]; then kill "$(cat "$folder/$daemon.pid")" 2>/dev/null || true; fi
    done
}

start() {
    mkdir -p "$folder/state" "$folder/spool"
    cat > "$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
SlurmUser=root
SlurmdUser=root
SlurmctldPort=16817
SlurmdPort=16818
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
KillWait=5
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
NodeName=localhost NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes=localhost Default=YES MaxTime=INFINITE State=UP
CONF
    echo CgroupAutomount=no > "$folder/cgroup.conf"
    slurmctld -c
    slurmd
    for _ in $(seq 100); do
        if sinfo -h -t idle -o %n 2>/dev/null | grep -q .; then return; fi
        sleep 0.1
    done
    echo "the node did not come up: see $folder/slurmctld.log and slurmd.log" >&2
    return 1
}

if [ "$command" != ready ]; then
    folder=$(realpath -m "${2:?a folder}")
    export SLURM_CONF=$folder/slurm.conf
fi
"$command"
