-- Health of the kinds of ipvs-operator.dev for Argo CD: VirtualServer, VIPPool and DirectorGroup. One script for the three; it reads what
-- kstatus reads, too: status.observedGeneration and the conditions Ready and Stalled. argocd-cm.yaml beside it is made of this file.

-- Reasons of Ready=False that only a person can change, on kinds without a condition Stalled.
local waitsForSomebody = { InvalidSpec = true, DirectorGroupNotFound = true, NoMembers = true }
-- Reasons that say what somebody asked for.
local wanted = { Suspended = true, Disabled = true }

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "Being deleted" }
end
if obj.status == nil or obj.status.conditions == nil then
  return { status = "Progressing", message = "Not looked at by the controller yet" }
end
if obj.status.observedGeneration ~= nil and obj.metadata.generation ~= nil and obj.status.observedGeneration < obj.metadata.generation then
  return { status = "Progressing", message = "The newest version is not looked at by the controller yet" }
end

local condition = {}
for _, one in ipairs(obj.status.conditions) do
  condition[one.type] = one
end

local ready = condition.Ready
if condition.Stalled ~= nil and condition.Stalled.status == "True" then
  return { status = "Degraded", message = condition.Stalled.message }
end
if ready == nil or ready.status == "Unknown" then
  return { status = "Progressing", message = ready ~= nil and ready.message or "Not ready yet" }
end
if ready.status == "True" then
  -- It works, though not as it should: that is in the message, and blocks no sync.
  local degraded = condition.Degraded
  return { status = "Healthy", message = degraded ~= nil and degraded.status == "True" and degraded.message or ready.message }
end
if wanted[ready.reason] then
  return { status = "Suspended", message = ready.message }
end
if waitsForSomebody[ready.reason] then
  return { status = "Degraded", message = ready.message }
end
return { status = "Progressing", message = ready.message }
