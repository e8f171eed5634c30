# The client: carries out what duetime's client has committed, a line of JSON for each call, and answers with a line.
require "json"
require "sidekiq/api"
require "time"
require_relative "deliver_job"

Sidekiq.configure_client do |config|
  config.logger = Sidekiq::Logger.new($stderr, level: Logger::INFO) # standard output is for the answers
end

def schedule(key, revision, due_at)
  keep_s = [due_at - Time.now, 0].max.ceil + DeliverJob::KEEP_S
  newest = DeliverJob.supersede(key, revision, keep_s: keep_s)
  return if newest > revision || (newest == revision && waiting?(key, revision, due_at))

  DeliverJob.perform_at(due_at, key, revision)
end

def cancel(key, revision)
  DeliverJob.supersede(key, revision)
end

# Asked only when a call is repeated: it reads the whole queue.
def waiting?(key, revision, due_at)
  [Sidekiq::ScheduledSet.new.fetch(due_at.to_f), Sidekiq::Queue.new, Sidekiq::RetrySet.new].any? do |jobs|
    jobs.any? { |job| job.args == [key, revision] }
  end
end

$stdout.sync = true
puts({ ok: true }.to_json)
$stdin.each_line do |line|
  call = JSON.parse(line)
  case call["do"]
  when "schedule" then schedule(call["key"], call["revision"], Time.iso8601(call["due_at"]))
  when "cancel" then cancel(call["key"], call["revision"])
  end
  puts({ ok: true }.to_json)
rescue => error
  puts({ error: "#{error.class}: #{error.message}" }.to_json)
end
