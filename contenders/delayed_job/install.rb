# The table, as `rails generate delayed_job:active_record` makes it, and two columns of the application.
require_relative "library"

ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table :delayed_jobs, if_not_exists: true do |table|
    table.integer :priority, default: 0, null: false
    table.integer :attempts, default: 0, null: false
    table.text :handler, null: false
    table.text :last_error
    table.datetime :run_at
    table.datetime :locked_at
    table.datetime :failed_at
    table.string :locked_by
    table.string :queue
    table.timestamps null: true
    table.text :notification_key
    table.integer :revision
  end
  add_index :delayed_jobs, [:priority, :run_at], name: "delayed_jobs_priority", if_not_exists: true
  add_index :delayed_jobs, :notification_key, if_not_exists: true
end
