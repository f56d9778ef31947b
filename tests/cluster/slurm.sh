#!/bin/bash
# A Slurm of one node on the loopback, as root: bash slurm.sh start|stop FOLDER. Needs slurm-wlm, munge.
# Writes /etc/slurm/slurm.conf, because $SLURM_CONF does not reach the srun inside a job, and refuses
# to if there is one of another origin. Ends what it started, by the process ids it kept.
set -eu
folder=$(mkdir -p "$2" && cd "$2" && pwd)
conf=/etc/slurm/slurm.conf

if [ "$1" = stop ]; then
  for name in slurmd slurmctld munged; do
    [ ! -e "$folder/$name.pid" ] || kill "$(cat "$folder/$name.pid")" || true
  done
  ! grep -qs "^ClusterName=toy$" $conf || rm $conf
  exit
fi
if [ -e $conf ] && ! grep -q "^ClusterName=toy$" $conf; then
  echo "$conf: of a real cluster, left as it is" >&2; exit 2
fi
mkdir -p /etc/slurm "$folder/state" "$folder/spool" /run/munge
chown root:root /etc/munge /etc/munge/munge.key /run/munge /var/log/munge /var/lib/munge
cat > $conf <<END
ClusterName=toy
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=2
NodeName=localhost NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=60 State=UP
END
munged --force --pid-file="$folder/munged.pid" --log-file="$folder/munged.log"
slurmctld -c
slurmd -N localhost
for _ in $(seq 30); do
  if sinfo -h -o %T 2>/dev/null | grep -q idle; then exit; fi
  sleep 1
done
echo "slurm.sh: the node is not idle after 30 s; see $folder" >&2
exit 1
