# Loads delayed_job from Debian's packages, which are unpacked and not installed, and connects to the database.
packages = ENV.fetch("DEBIAN_PACKAGES")
Gem.paths = { "GEM_PATH" => Dir["#{packages}/usr/share/rubygems-integration/*"].join(":") }
$LOAD_PATH.concat(Dir["#{packages}/usr/lib/ruby/vendor_ruby", "#{packages}/usr/lib/*/ruby/vendor_ruby/*"])
require "active_record"
require "delayed_job_active_record"

ActiveRecord::Base.establish_connection(adapter: "postgresql") # libpq's variables name the database
